"""Faults in what a saga sends, owes and writes down."""

from typing import Final

from saga_rules import Fault

MESSAGE_FAULTS: Final = (
    Fault(
        name="a command that no queue took has an unknown effect",
        place="unroutable commands",
        module="rules",
        old='unknown=False, retryable=False, note="unroutable"',
        new='unknown=True, retryable=False, note="unroutable"',
        law="the_table_is_kept",
    ),
    Fault(
        name="a compensation goes where the action went",
        place="commands",
        module="outbound",
        old="    return step.plan.compensation or step.plan.action\n",
        new="    return step.plan.action\n",
        law="commands_say_what_the_plan_says",
    ),
    Fault(
        name="a failed saga is not announced",
        place="outcome events",
        module="flow",
        old="        draft.owe(failed_event(draft.saga, draft.message))\n",
        new="",
        law="an_end_is_announced",
    ),
    Fault(
        name="a completed saga is not announced",
        place="outcome events",
        module="flow",
        old="        draft.owe(completed_event(draft.saga, draft.message))\n",
        new="",
        law="an_end_is_announced",
    ),
    Fault(
        name="an outcome does not say which step failed",
        place="outcome events",
        module="outbound",
        old='"failed_step": failure.step if failure else None',
        new='"failed_step": None',
        law="an_end_is_announced",
    ),
    Fault(
        name="the clock does not guard what it sends",
        place="what is owed",
        module="draft",
        old="self.now + sent_by if self._is_unguarded() else None",
        new="None",
        law="what_is_owed_is_guarded",
    ),
    Fault(
        name="what is sent is not kept",
        place="what is owed",
        module="draft",
        old='        self._fields["outbound"] = (*self.saga.outbound, outbound)\n',
        new="",
        law="what_moves_is_sent",
    ),
    Fault(
        name="what is sent is not what is kept",
        place="what is owed",
        module="draft",
        old="send=tuple([owed for owed in self._owed",
        new='send=tuple([changed(owed, error="") for owed in self._owed',
        law="what_is_sent_is_owed",
    ),
    Fault(
        name="an answered command is still owed",
        place="what is owed",
        module="draft",
        old='            self._fields["outbound"] = tuple(left)\n',
        new="            pass\n",
        law="only_what_awaits_owes_a_command",
    ),
    Fault(
        name="a confirmation settles what others send",
        place="confirmations",
        module="moves",
        old="if owed.cause is None and not _is_command_of(owed, unroutable)",
        new="if not _is_command_of(owed, unroutable)",
        law="what_is_owed_is_not_forgotten",
    ),
    Fault(
        name="a confirmation of an older version settles",
        place="confirmations",
        module="decide",
        old="    if event.version == draft.saga.version:\n",
        new="    if event.version is not None:\n",
        law="what_is_owed_is_not_forgotten",
    ),
    Fault(
        name="a confirmation settles nothing",
        place="confirmations",
        module="moves",
        old=(
            "    draft.change(outbound=tuple(owed for owed in draft.saga.outbound if owed "
            "not in sent))\n"
        ),
        new="",
        law="what_is_confirmed_is_settled",
    ),
    Fault(
        name="a deadline runs while the clock is still sending",
        place="confirmations",
        module="moves",
        old=("            deadline = draft.now + step.plan.timeout\n            draft.change_step"),
        new=("            deadline = step.deadline\n            draft.change_step"),
        law="a_deadline_counts_from_the_sending",
    ),
    Fault(
        name="what came back is not sent again",
        place="unroutable commands",
        module="moves",
        old="changed(owed, cause=None) if _is_command_of",
        new="owed if _is_command_of",
        law="what_came_back_is_sent_again",
    ),
    Fault(
        name="a failed step is still unroutable",
        place="unroutable commands",
        module="moves",
        old=(
            "        error=error,\n"
            "        deadline=None,\n"
            "        retry_at=None,\n"
            "        unroutable=False,\n"
            "    )\n"
            "\n"
            "\n"
            "def finish"
        ),
        new=(
            "        error=error,\n"
            "        deadline=None,\n"
            "        retry_at=None,\n"
            "    )\n"
            "\n"
            "\n"
            "def finish"
        ),
        law="only_what_awaits_is_unroutable",
    ),
    Fault(
        name="a line of the history is no version",
        place="history",
        module="draft",
        old='version = self._fields["version"] = self.saga.version + 1',
        new="version = self.saga.version + 1",
        law="versions_advance_by_one",
    ),
    Fault(
        name="the history says where a step is, not where it was",
        place="history",
        module="draft",
        old="self._write(name, step.status, status, note",
        new="self._write(name, status, status, note",
        law="transitions_chain",
    ),
    Fault(
        name="what has no line in the history is not saved",
        place="history",
        module="draft",
        old="must_save = bool(self._transitions) or self.saga != self._original",
        new="must_save = bool(self._transitions)",
        law="what_changes_is_saved",
    ),
    Fault(
        name="a completed step still has its deadline",
        place="history",
        module="moves",
        old=("        error=None,\n        deadline=None,\n"),
        new="        error=None,\n",
        law="what_is_under_way_has_its_moment",
    ),
    Fault(
        name="what advances is only noted",
        place="verdicts",
        module="rules",
        old="    return draft.decision(late=late)\n",
        new="    return draft.decision(Verdict.NOTED, late=late)\n",
        law="only_an_advance_moves_steps",
    ),
    Fault(
        name="what changes is called nothing",
        place="verdicts",
        module="draft",
        old="        elif verdict is Verdict.ADVANCED and not self._owed:",
        new="        if verdict is Verdict.ADVANCED and not self._owed:",
        law="a_duplicate_changes_nothing",
    ),
)
