"""The demo's agent: three tasks, as an agent in any framework would send them."""

from runpermit import PythonExecutionRequest

READ_AND_PLOT = PythonExecutionRequest(
    user_query="How stable is the beam? Please plot the beam current.",
    task_objective="Read the beam current for ten seconds, plot it, and report mean and decay.",
    expected_results={"mean_beam_current_mA": "float", "decay_mA_per_hour": "float"},
    execution_folder_name="beam_current",
    requester="demo-agent",
)
RAMP_AND_MEASURE = PythonExecutionRequest(
    user_query="How does the orbit move with HCM1? A corrector ramp would show it.",
    task_objective=(
        "Corrector ramp: raise SR:HCM1:SP by 0.2 A in ten equal steps, wait at each until its "
        "readback has followed, and measure the orbit at all BPMs."
    ),
    expected_results={"orbit_change_mm": "dict of channel to float"},
    execution_folder_name="corrector_ramp",
    requester="demo-agent",
)
RAMP_FOR_LONG = PythonExecutionRequest(
    user_query="Please do a long ramp of HCM4, slowly.",
    task_objective=(
        "Long ramp: raise SR:HCM4:SP by 0.5 A in 25 equal steps, one every 0.4 s, and report the "
        "position at SR:BPM1:X after each."
    ),
    expected_results={"bpm1_mm": "list of float"},
    execution_folder_name="long_ramp",
    requester="demo-agent",
)
