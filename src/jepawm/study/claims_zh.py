# ruff: noqa: RUF001 - Chinese has punctuation of its own
"""The verdicts of the study in Chinese, for docs/zh/study.md; figures and commands are those of claims.py."""

from collections.abc import Sequence

from jepawm.study.table_files import signed_points
from jepawm.study.verdicts import Verdict, Word

SAYS_ZH: dict[str, str] = {
    "window-2-over-1": "两帧上下文远好于一帧：两帧才看得出速度。",
    "window-3-over-2": "仿真中三帧上下文最好。",
    "window-7-over-3": "仿真中更长的上下文没有收益。",
    "rollout-2-over-1": "两步 rollout 损失好于只用 teacher forcing。",
    "rollout-2-over-6": "仿真中多于两步的 rollout 有害。",
    "gradient-last-over-all": "沿 rollout 截断的反向传播好于完整梯度。",
    "prefix-random-over-first": "从随机长度的真实前缀开始 rollout 最好。",
    "mse-over-l1": "MSE 是最好的训练距离（与 L1 比）。",
    "mse-over-smooth-l1": "MSE 是最好的训练距离（与 smooth L1 比）。",
    "proprio-over-none": "本体感受处处有益。论文：Metaworld 两个任务的均值，有 39.2，无 29.7。",
    "dino-over-vjepa": "DINO 编码器明显好于 V-JEPA（这里：同样大小的小型 ViT，在该环境的画面上预训练）。",
    "adaln-rope-over-feature-sincos": "AdaLN 加 RoPE 平均最好，优势很小（与特征拼接加正余弦位置比）。",
    "adaln-over-sequence": "AdaLN 加 RoPE 平均最好，优势很小（与动作作为序列 token 比）。",
    "feature-over-adaln-wall": "在 Wall 上，特征拼接最好。",
    "size-l-over-s": "仿真中更大的模型没有收益。论文：Metaworld 上 ViT-S 29.7，ViT-L 19.4。",
    "size-l-over-s-noisy": "真实数据上更大的模型有益（这里：带噪声的世界）。",
    "depth-6-over-3": "在 Wall 和 Maze 上，三层预测器就够了。",
    "depth-6-over-3-noisy": "真实数据上更深的预测器有益（这里：带噪声的世界）。",
    "recipe-over-dino-wm": "论文的配方好于 DINO-WM。",
    "recipe-over-vjepa2-ac": "论文的配方好于 V-JEPA-2-AC。论文：RoboCasa Reach 25.4 对 16.2，Place 30.7 对 33.1。",
    "data-100-over-10": "数据越多越好（全部对十分之一）。",
    "data-10-over-2": "数据越多越好（百分之十对百分之二）。",
    "cem-l2-over-cem-l1": "L2 代价好于 L1；Wall 上相差 32 个百分点。",
    "cem-over-nevergrad": "仿真中 CEM 好于 Nevergrad。",
    "cem-over-gd": "梯度下降在导航任务上失败。",
    "cem-over-adam": "Adam 在导航任务上失败（论文的实现其实没有走 Adam 的步子）。",
    "cem-over-real-adam": "梯度下降在导航任务上失败：这里用真正走 Adam 步子的版本。",
    "cem-over-our-gd": "梯度下降在导航任务上失败：这里用多个起点、按比例缩放步长的版本。",
}
"""What each claim says, by its id."""

_WORDS: dict[Word, str] = {"agrees": "一致", "disagrees": "不一致", "cannot tell": "无法判断"}


def verdicts_markdown_zh(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts as docs/zh/study.md shows them."""
    lines = ["| 论文的说法 | 命令 | 这里（百分点） | 论文 | 结论 |", "|---|---|---|---|---|"]
    for one in verdicts:
        found = "<br>".join(
            f"{finding.table.recipe}: {signed_points(finding.difference)}"
            for finding in one.findings
        )
        paper = " ".join(
            f"{100 * finding.paper:+.1f}" for finding in one.findings if finding.paper is not None
        )
        says, command = SAYS_ZH[one.claim.id], one.claim.command
        lines.append(
            f"| {says} | `{command}` | {found or '还没有数据'} | {paper or '未给出'} | {_WORDS[one.word]} |"
        )
    return "\n".join(lines) + "\n"
