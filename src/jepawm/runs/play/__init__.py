"""`jepawm play`: a local page where one drags the goal and watches the planner think."""
