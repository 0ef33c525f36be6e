# ruff: noqa: RUF001 - Chinese has punctuation of its own
"""A tour in eight scenes that follows the paper: each a task that shows its point, and five lines of text.

`tests/runs/play/test_scenes.py` asserts each point on numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jepawm.runs.play.messages import Ask, ask_to_json


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A task that is set up to show something, and what to say about it."""

    key: str
    """Short name."""
    title: tuple[str, str]
    """Title in English and Chinese."""
    lines: tuple[tuple[str, str], ...]
    """Five lines in English and Chinese."""
    asks: tuple[Ask, ...]
    """What is asked: one question, or two that stand side by side."""


_FAR = {"model": "wall", "start": (16.0, 48.0), "goal": (50.0, 14.0)}
_STUCK = {"model": "wall", "start": (54.0, 54.0), "goal": (8.0, 26.0)}
_MAZE = {"model": "pointmaze", "goal": (2.9, 1.2, 0.0, 0.0)}

SCENES: tuple[Scene, ...] = (
    Scene(
        key="latents",
        title=("From pixels to latents", "从像素到潜变量"),
        lines=(
            ("The model never plans on pixels.", "模型从不在像素上规划。"),
            (
                "An encoder turns each picture into one latent of 32 numbers.",
                "编码器把每张图变成一个 32 维的潜变量。",
            ),
            (
                "Left is the real picture, right is what a decoder paints from the latent alone.",
                "左边是真实图像，右边是解码器仅凭潜变量画出的图像。",
            ),
            (
                "Drag the dot: the decoded one follows, so the latent holds its place.",
                "拖动圆点：解码出的点随之移动，可见潜变量记住了位置。",
            ),
            (
                "The decoder is for our eyes only; planning does not use it.",
                "解码器只给人看，规划并不用它。",
            ),
        ),
        asks=(Ask(do="look", **_FAR),),
    ),
    Scene(
        key="prediction",
        title=("What a prediction is", "什么是预测"),
        lines=(
            (
                "The predictor takes a latent and a block of five actions.",
                "预测器接收一个潜变量和一组五个动作。",
            ),
            (
                "It returns the latent that it expects afterwards.",
                "它给出执行之后应当出现的潜变量。",
            ),
            ("Six of these steps in a row are an imagined path.", "连续六步就是一条想象中的路径。"),
            (
                "Execute the plan: the real path lies close to the imagined one.",
                "执行计划：真实路径紧贴想象路径。",
            ),
            (
                "No picture was drawn in between; all of it happened in latents.",
                "其间没有画过任何图像，一切都在潜空间里发生。",
            ),
        ),
        asks=(Ask(do="execute", planner="propose", **_FAR),),
    ),
    Scene(
        key="velocity",
        title=("Context and velocity", "上下文与速度"),
        lines=(
            (
                "A picture shows where the ball is, not how fast it moves.",
                "图像显示小球在哪里，却看不出它有多快。",
            ),
            (
                "Here proprioception adds the velocity to the latent.",
                "这里由本体感觉把速度加进潜变量。",
            ),
            (
                "Both balls start at the same place: one moves up, the other down.",
                "两个小球从同一处出发：一个向上，一个向下。",
            ),
            (
                "The pictures are the same, the imagined paths are not.",
                "图像相同，想象的路径却不同。",
            ),
            (
                "A model without velocity would need several frames as context.",
                "没有速度的模型需要多帧图像作为上下文。",
            ),
        ),
        asks=(
            Ask(do="execute", planner="direct", start=(0.7, 1.5, 0.0, 3.0), **_MAZE),
            Ask(do="execute", planner="direct", start=(0.7, 1.5, 0.0, -3.0), **_MAZE),
        ),
    ),
    Scene(
        key="drift",
        title=("Drift and replanning", "漂移与重新规划"),
        lines=(
            ("Here every action is disturbed by noise.", "这里每个动作都受到噪声干扰。"),
            ("Left: one plan, executed with closed eyes.", "左：一次规划，闭着眼执行。"),
            ("The real path drifts away from the imagined one.", "真实路径逐渐偏离想象路径。"),
            (
                "Right: after each block the agent looks and plans again.",
                "右：每执行一组动作就看一眼并重新规划。",
            ),
            (
                "It ends nearer to the goal, with the same model and noise.",
                "同样的模型和噪声，终点离目标更近。",
            ),
        ),
        asks=(
            Ask(do="execute", planner="propose", noise=0.5, **_FAR),
            Ask(do="execute", planner="propose", noise=0.5, replan=True, **_FAR),
        ),
    ),
    Scene(
        key="cem",
        title=("CEM, iteration by iteration", "逐次迭代看 CEM"),
        lines=(
            (
                "The cross-entropy method draws 128 plans at random.",
                "交叉熵方法先随机抽取 128 个计划。",
            ),
            ("The model imagines where each of them ends.", "模型想象每个计划的终点。"),
            (
                "The best twelve, the elites, shape the next draw.",
                "最好的十二个（精英）决定下一次抽样。",
            ),
            (
                "Move the slider: paths gather, and the cost falls.",
                "拖动滑块：路径逐渐聚拢，代价下降。",
            ),
            ("The last mean is the plan.", "最后的均值就是计划。"),
        ),
        asks=(Ask(do="plan", planner="cem", samples=128, iterations=10, landscape=15, **_FAR),),
    ),
    Scene(
        key="wall",
        title=("Gradient descent at the wall", "梯度下降撞墙"),
        lines=(
            (
                "The cost of a plan is the distance between latents.",
                "计划的代价是潜变量之间的距离。",
            ),
            (
                "Left: one descent follows its slope from the mean action.",
                "左：从平均动作出发，沿坡度下降。",
            ),
            (
                "The slope leads straight to the goal, and the wall is in the way.",
                "坡度直指目标，而墙挡在中间。",
            ),
            ("It ends in front of the wall, in a local minimum.", "它停在墙前的局部极小处。"),
            (
                "Right: CEM tries many plans, and some go through the door.",
                "右：CEM 尝试许多计划，总有一些穿过门。",
            ),
        ),
        asks=(
            Ask(do="execute", planner="gd", iterations=40, **_STUCK),
            Ask(do="execute", planner="cem", samples=256, iterations=15, **_STUCK),
        ),
    ),
    Scene(
        key="distances",
        title=("L2 against L1", "L2 与 L1"),
        lines=(
            ("How far apart are two latents? Two answers.", "两个潜变量相距多远？有两种答案。"),
            (
                "L2 squares the differences, L1 takes their absolute values.",
                "L2 取差的平方，L1 取绝对值。",
            ),
            (
                "The maps show the cost of plans that repeat one action.",
                "两张图显示重复同一动作的计划的代价。",
            ),
            ("Near its lowest point L2 is flat: a wide bowl.", "L2 在最低点附近平坦，像宽碗。"),
            ("L1 is steep down to the goal: a narrow funnel.", "L1 一直陡到目标，像窄漏斗。"),
        ),
        asks=(
            Ask(do="plan", planner="cem", samples=64, iterations=8, landscape=21, **_FAR),
            Ask(
                do="plan",
                planner="cem",
                samples=64,
                iterations=8,
                landscape=21,
                metric="l1",
                **_FAR,
            ),
        ),
    ),
    Scene(
        key="proposals",
        title=("Proposals", "提案网络"),
        lines=(
            (
                "A small network was trained through the model to propose plans.",
                "一个小网络穿过模型训练，学会提出计划。",
            ),
            (
                "Left: its first proposal, executed unseen.",
                "左：它的第一个提案，不经检验直接执行。",
            ),
            (
                "No candidate was evaluated, and the plan took milliseconds.",
                "没有评估任何候选，规划只用几毫秒。",
            ),
            (
                "Right: CEM looks at 1,281 candidates for its plan.",
                "右：CEM 为它的计划考察 1281 个候选。",
            ),
            (
                "Both arrive; one had learned beforehand what the other searches anew.",
                "两者都到达；一个事先学会了另一个每次都要重新搜索的东西。",
            ),
        ),
        asks=(
            Ask(do="execute", planner="direct", **_FAR),
            Ask(do="execute", planner="cem", samples=128, iterations=10, **_FAR),
        ),
    ),
)
"""The tour, in its order."""


def scenes_to_json(scenes: Sequence[Scene]) -> list[dict[str, object]]:
    """Return scenes for the page."""
    return [
        {
            "key": scene.key,
            "title": scene.title,
            "lines": scene.lines,
            "asks": [ask_to_json(ask) for ask in scene.asks],
        }
        for scene in scenes
    ]
