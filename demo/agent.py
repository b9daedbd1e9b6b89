"""The demo's agent: two tasks, as an agent in any framework would send them."""

from runpermit import PythonExecutionRequest

READ_AND_PLOT = PythonExecutionRequest(
    user_query="How stable is the beam? Please plot the beam current.",
    task_objective="Read the beam current for ten seconds, plot it, and report mean and decay.",
    expected_results={"mean_beam_current_mA": "float", "decay_mA_per_hour": "float"},
    execution_folder_name="beam_current",
    requester="demo-agent",
)
STEP_AND_MEASURE = PythonExecutionRequest(
    user_query="What is the orbit response to HCM3?",
    task_objective=(
        "Measure the orbit response: step corrector SR:HCM3:SP by 0.2 A, measure the orbit at all "
        "BPMs before and after, and put the corrector back."
    ),
    expected_results={"response_mm_per_A": "dict of channel to float"},
    execution_folder_name="orbit_response",
    requester="demo-agent",
)
