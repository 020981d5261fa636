"""Faults in how a saga turns back, in its pivot, and in what people may ask for."""

from typing import Final

from saga_rules import Fault

TURNING_FAULTS: Final = (
    Fault(
        name="a later attempt forgets that the effect is unknown",
        place="a definite failure is not an unknown outcome",
        module="rules",
        old="effect_unknown=step.effect_unknown or unknown",
        new="effect_unknown=unknown",
        law="the_table_is_kept",
    ),
    Fault(
        name="a definite failure is undone",
        place="a definite failure is not an unknown outcome",
        module="flow",
        old="step.status is StepStatus.FAILED and step.effect_unknown",
        new="step.status is StepStatus.FAILED",
        law="only_what_may_have_happened_is_undone",
    ),
    Fault(
        name="an unknown effect is left",
        place="a definite failure is not an unknown outcome",
        module="flow",
        old="return step.status is StepStatus.COMPLETED or failed_unknown",
        new="return step.status is StepStatus.COMPLETED",
        law="failed_means_nothing_is_left",
    ),
    Fault(
        name="a late success is only kept",
        place="a late success",
        module="rules",
        old="    if step.effect_unknown and not is_past_pivot(draft.saga):",
        new="    if not is_past_pivot(draft.saga):",
        law="the_table_is_kept",
    ),
    Fault(
        name="a late success waits for what is being undone",
        place="a late success",
        module="flow",
        old="            if _needs_undoing(step):",
        new=(
            "            if _needs_undoing(step) and not any(\n"
            "                each.status is StepStatus.COMPENSATING for each in "
            "draft.saga.steps\n"
            "            ):"
        ),
        law="undoing_is_not_put_off",
    ),
    Fault(
        name="undone in the order of doing",
        place="strict reverse order",
        module="flow",
        old="reverse=True",
        new="reverse=False",
        law="compensation_comes_in_reverse",
    ),
    Fault(
        name="all is undone at once",
        place="strict reverse order",
        module="flow",
        old=(
            "        if any(_blocks_earlier(draft.saga, draft.step(step.name)) for step in "
            "steps):\n"
            "            return\n"
        ),
        new="",
        law="compensation_comes_in_reverse",
    ),
    Fault(
        name="a stage is undone step by step",
        place="strict reverse order",
        module="flow",
        old="                send_compensation(draft, step)\n",
        new=("                send_compensation(draft, step)\n                break\n"),
        law="undoing_is_not_put_off",
    ),
    Fault(
        name="the others of a stage are not awaited",
        place="strict reverse order",
        module="flow",
        old="return step.status is StepStatus.EXECUTING and step.retry_at is None",
        new="return False",
        law="what_is_outstanding_is_awaited",
    ),
    Fault(
        name="what is outstanding is given up",
        place="strict reverse order",
        module="flow",
        old="if step.status is StepStatus.EXECUTING and not _is_outstanding(step):",
        new="if step.status is StepStatus.EXECUTING:",
        law="what_is_outstanding_is_awaited",
    ),
    Fault(
        name="a pause is awaited before turning back",
        place="strict reverse order",
        module="flow",
        old="return step.status is StepStatus.EXECUTING and step.retry_at is None",
        new="return step.status is StepStatus.EXECUTING",
        law="what_turns_back_does_so_at_once",
    ),
    Fault(
        name="what waits for its next attempt is left so",
        place="strict reverse order",
        module="flow",
        old="if step.status is StepStatus.EXECUTING and not _is_outstanding(step):",
        new="if False:",
        law="failed_means_nothing_is_left",
    ),
    Fault(
        name="undoing begins while others are outstanding",
        place="strict reverse order",
        module="flow",
        old=("    if draft.saga.state is SagaState.COMPENSATING:\n        _undo"),
        new=("    if is_turning_back(draft.saga):\n        _undo"),
        law="nothing_is_undone_while_it_goes_forward",
    ),
    Fault(
        name="the next attempt is sent while turning back",
        place="nothing new is sent",
        module="decide",
        old="if step.status is StepStatus.COMPENSATING or not is_turning_back(draft.saga):",
        new="if True:",
        law="nothing_new_is_sent_while_turning_back",
    ),
    Fault(
        name="a failure does not turn the saga back",
        place="nothing new is sent",
        module="flow",
        old="saga.cancel_reason is not None or saga.first_failure is not None\n",
        new="saga.cancel_reason is not None\n",
        law="somebody_or_something_moves_it_on",
    ),
    Fault(
        name="nothing to undo, and it stays compensating",
        place="if nothing needs undoing",
        module="flow",
        old="    if not any(step.status is StepStatus.COMPENSATION_FAILED",
        new=(
            "    if any(step.compensation_attempts for step in draft.saga.steps) and not "
            "any(step.status is StepStatus.COMPENSATION_FAILED"
        ),
        law="compensating_means_under_way_or_halted",
    ),
    Fault(
        name="a halted saga ends",
        place="on_compensation_exhausted",
        module="flow",
        old=(
            "    if not any(step.status is StepStatus.COMPENSATION_FAILED for step in "
            "draft.saga.steps):"
        ),
        new="    if True:",
        law="failed_means_nothing_is_left",
    ),
    Fault(
        name="a halt does not halt",
        place="on_compensation_exhausted",
        module="flow",
        old="        return halted\n",
        new="        return False\n",
        law="compensation_comes_in_reverse",
    ),
    Fault(
        name="to continue is to halt",
        place="on_compensation_exhausted",
        module="flow",
        old="        return halted\n",
        new="        return True\n",
        law="undoing_is_not_put_off",
    ),
    Fault(
        name="nobody is called for an exhausted compensation",
        place="on_compensation_exhausted",
        module="moves",
        old="    call_for_compensation(draft, failed)\n",
        new="",
        law="a_person_is_told",
    ),
    Fault(
        name="an exhausted compensation is not announced",
        place="on_compensation_exhausted",
        module="moves",
        old='    announce(draft, "SagaCompensationDeadLettered", failed, error=error)\n',
        new="",
        law="an_exhausted_compensation_is_announced",
    ),
    Fault(
        name="what cannot be undone is undone",
        place="compensation=None",
        module="flow",
        old=("    if step.plan.compensation is None:\n        return False\n    failed"),
        new="    failed",
        law="only_what_can_be_undone_is",
    ),
    Fault(
        name="a cancel is taken after the pivot",
        place="cancel",
        module="interventions",
        old="    if is_past_pivot(saga):\n",
        new="    if False:\n",
        law="a_cancel_is_answered",
    ),
    Fault(
        name="a cancel is taken after the end",
        place="cancel",
        module="interventions",
        old="    if saga.state.is_final:\n",
        new="    if False:\n",
        law="a_cancel_is_answered",
    ),
    Fault(
        name="a second cancel is another one",
        place="cancel",
        module="interventions",
        old="if saga.state is SagaState.COMPENSATING or saga.cancel_reason is not None:",
        new="if saga.state is SagaState.COMPENSATING:",
        law="a_cancel_is_answered",
    ),
    Fault(
        name="a cancel does not turn the saga back",
        place="cancel",
        module="flow",
        old="saga.cancel_reason is not None or saga.first_failure is not None\n",
        new="saga.first_failure is not None\n",
        law="nothing_new_is_sent_while_turning_back",
    ),
    Fault(
        name="a cancel that the pivot overtook stays",
        place="cancel",
        module="flow",
        old="        _drop_overtaken_cancel(draft)\n",
        new="",
        law="an_overtaken_cancel_is_dropped",
    ),
    Fault(
        name="a cancelled saga has no first failure",
        place="the first failure is kept",
        module="flow",
        old="        draft.fail_first(None, draft.saga.cancel_reason)\n",
        new="        pass\n",
        law="turning_back_has_a_reason",
    ),
    Fault(
        name="the last failure is kept, not the first",
        place="the first failure is kept",
        module="draft",
        old="        if self.saga.first_failure is None:\n",
        new="        if True:\n",
        law="first_failure_is_kept",
    ),
    Fault(
        name="the first failure names no step",
        place="the first failure is kept",
        module="moves",
        old="draft.fail_first(step.name, error)",
        new="draft.fail_first(None, error)",
        law="first_failure_names_who_failed",
    ),
    Fault(
        name="a completed pivot may be turned back",
        place="the pivot",
        module="flow",
        old="return pivot.status is StepStatus.COMPLETED or may_have",
        new="return may_have",
        law="past_the_pivot_there_is_no_way_back",
    ),
    Fault(
        name="a pivot that may have happened is turned back",
        place="the pivot",
        module="flow",
        old="return pivot.status is StepStatus.COMPLETED or may_have",
        new="return pivot.status is StepStatus.COMPLETED",
        law="past_the_pivot_there_is_no_way_back",
    ),
    Fault(
        name="what fails after the pivot is not tried again",
        place="the pivot",
        module="rules",
        old="again = (retryable or forward) and",
        new="again = retryable and",
        law="the_table_is_kept",
    ),
    Fault(
        name="nobody is called when a step after the pivot is exhausted",
        place="the pivot",
        module="rules",
        old=("    if forward:\n        call"),
        new=("    if False:\n        call"),
        law="a_person_is_told",
    ),
    Fault(
        name="what is exhausted after the pivot counts as done",
        place="the pivot",
        module="flow",
        old="if step.status is not StepStatus.COMPLETED]",
        new="if step.status not in {StepStatus.COMPLETED, StepStatus.FAILED}]",
        law="completed_means_all_steps",
    ),
    Fault(
        name="what is exhausted after the pivot cannot be retried",
        place="retry by hand",
        module="interventions",
        old="    return is_forward_exhausted(saga, step)\n",
        new="    return False\n",
        law="a_retry_by_hand_is_answered",
    ),
    Fault(
        name="a retry by hand has no fresh budget",
        place="retry by hand",
        module="interventions",
        old="fresh = draft.change_step(step, forgiven=attempts)",
        new="fresh = step",
        law="a_retry_by_hand_is_answered",
    ),
    Fault(
        name="what was forgiven of the action is forgiven of its undoing",
        place="retry by hand",
        module="moves",
        old="forgiven=step.forgiven if step.compensation_attempts else 0",
        new="forgiven=step.forgiven",
        law="attempts_stay_within_their_budget",
    ),
    Fault(
        name="whatever has failed may be resolved",
        place="resolve by hand",
        module="interventions",
        old=("    elif is_forward_exhausted(saga, step):\n        too"),
        new=("    elif step.status is StepStatus.FAILED:\n        too"),
        law="a_resolve_is_answered",
    ),
    Fault(
        name="a resolve is not announced",
        place="resolve by hand",
        module="interventions",
        old=(
            '    announce(draft, "SagaInterventionResolved", step, by=event.actor, '
            "reason=event.reason)\n"
        ),
        new="",
        law="a_resolve_is_answered",
    ),
    Fault(
        name="a refusal does not say why",
        place="resolve by hand",
        module="interventions",
        old="verdict=Verdict.REFUSED, refusal=why",
        new="verdict=Verdict.REFUSED",
        law="a_refusal_says_why",
    ),
    Fault(
        name="a late success makes the saga go forward again",
        place="nothing new is sent",
        module="flow",
        old="or saga.first_failure is not None\n",
        new=("or any(\n        step.status is StepStatus.FAILED for step in saga.steps\n    )\n"),
        law="nothing_new_is_sent_while_turning_back",
    ),
    Fault(
        name="a step begins while another is undone",
        place="nothing new is sent",
        module="flow",
        old=("    if draft.saga.state is SagaState.COMPENSATING:\n        _undo_next(draft)"),
        new=(
            "    if draft.saga.state is SagaState.COMPENSATING:\n"
            "        for step in draft.saga.steps:\n"
            "            if step.status is StepStatus.PENDING:\n"
            "                send_action(draft, step)\n"
            "        _undo_next(draft)"
        ),
        law="compensation_waits_for_actions",
    ),
)
