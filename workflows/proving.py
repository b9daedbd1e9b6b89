"""Who said it: proven outside of the workflow before a yes counts, within bounds."""

from collections import Counter

from temporalio import workflow

from runpermit.errors import PythonExecutorException
from runpermit.models import UNAUTHORED, Assurance, Statement
from workflows import steps
from workflows.approval import Claim
from workflows.incoming import Author
from workflows.retries import Step
from workflows.step_runner import run_step

# Each is an activity: nobody fills a history with signatures that were made up. What is asked anew
# begins anew, or strangers could keep everybody from ever approving.
MOST_AT_ONCE = 20
MOST = 100


class Prover:
    """Proves claims on the host of an execution, whose gate and Temporal's history know."""

    def __init__(self) -> None:
        # Set before any question waits, and with it the first claim.
        self._deployment: steps.Deployment
        self._under_way = 0
        self._begun: Counter[str] = Counter()

    def know(self, deployment: steps.Deployment) -> None:
        """From now on it can ask."""
        self._deployment = deployment

    async def prove(self, claim: Claim, signal: steps.SignalReceived | None) -> Author | str:
        """Who made `claim`, or why nobody is proven to; `signal` is how it came, if by one."""
        if self._begun[claim.sha256] >= MOST:
            return (
                f"{MOST} claims to have answered it were looked at, and no more are. Say revise, "
                "and it is asked anew; what was left changed, the gate's host can put back"
            )
        if self._under_way >= MOST_AT_ONCE:
            return f"{MOST_AT_ONCE} others are being looked at: send it again"
        self._begun[claim.sha256] += 1
        self._under_way += 1
        try:
            return await self._prove(claim, signal)
        except PythonExecutorException as error:
            return f"nobody could verify whose it is: {error.message}"
        finally:
            self._under_way -= 1

    async def _prove(self, claim: Claim, signal: steps.SignalReceived | None) -> Author | str:
        if claim.signature is None and signal is None:
            return UNAUTHORED
        info = workflow.info()
        proven = await run_step(
            Step.IDENTIFY,
            steps.identify,
            steps.IdentifyTask(
                statement=Statement(
                    workflow_id=info.workflow_id,
                    first_run_id=info.first_execution_run_id,
                    sha256=claim.sha256,
                    decision=claim.verb,
                ),
                operator=claim.operator,
                signature=claim.signature,
                run_id=info.run_id,
                signal=signal,
            ),
            timeouts=self._deployment.timeouts,
            summary=f"who said {claim.verb}",
            host=self._deployment.host,
        )
        if proven.name is None:
            return proven.problem or "nobody is known to have said it"
        signed = claim.signature is not None
        assurance = Assurance.SIGNED if signed else Assurance.AUTHENTICATED
        return Author(proven.name, assurance, claim.sha256, proven.key)
