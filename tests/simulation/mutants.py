"""What the races catch: rufusd with one rule broken at a time, in memory, and after how many races that is seen.

    python -m simulation.mutants [--jobs N] [NAME ...]

Each mutant has to be caught within 20,000 races, by a race that the product itself passes. The run writes its table
into README.md. A change whose text is not in the source any more is an error: it has to be written anew.
"""

from __future__ import annotations

import argparse
import multiprocessing
import pathlib
import re
import sys
import time
from typing import NamedTuple

from .product import Change, Product
from .runner import play
from .story import write

MOST = 20_000
README = pathlib.Path(__file__).with_name("README.md")


class Mutant(NamedTuple):
    """A name, in words, and ways to make it: the first whose text is in the source is taken."""

    name: str
    changes: tuple[Change, ...]


def _m(name: str, module: str, function: str, old: str, new: str, *others: tuple[str, str, str]) -> Mutant:
    return Mutant(name, (Change(module, function, old, new), *(Change(module, *each) for each in others)))


MUTANTS = (
    # the card
    _m("a record's folder is not synced", "durable", "replace_file", "sync_folder(path.parent)", "pass"),
    _m("a record's content is not synced", "durable", "prepare", "os.fsync(file.fileno())", "pass"),
    _m("an end's folder is not synced", "records", "_move", "sync_folder(target.parent)\n        sync_folder(self.folders[PENDING])", "pass"),
    _m("the state folders are not made durable", "records", "sync_parents", "sync_folder(folder)", "pass"),
    _m("a confirmation is kept in memory only", "spool", "confirm", "self._save(PENDING, record)", "self._known[record.token] = (PENDING, record)"),
    _m("a folder that has changed is not listed anew", "records", "pending_if_changed", "if last and last.folder == folder else", "if last else"),
    _m("a closed session's record stays pending", "spool", "mark_closed", "self._save(CLOSED, record)", "pass"),
    _m("what the card refused is forgotten", "spool", "keep_in_memory", "self._keep_unwritten(PENDING, record, error)", "pass"),
    _m("what the card refused is not written later", "spool", "retry_failed_writes", "self._save(*self._known[token])", "pass"),
    _m("steps are taken without a lock", "locks", "lock", "return fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)", "return None"),
    _m("a call goes out whatever the spool says", "spool", "mark_sent", "return record is not None", "return True"),
    _m("a withdrawal does not reach the card", "spool", "withdraw", "self._save(WITHDRAWN, replace(record, withdrawn_at=at, withdrawn_by=by))", "self._forget(token)"),
    # the button
    _m("what is pressed at the start counts", "inputs", "button", "counts = press.seen_released and not too_long", "counts = not too_long"),
    _m("a stuck button confirms", "inputs", "button", "counts = press.seen_released and not too_long", "counts = press.seen_released"),
    _m("any press confirms", "inputs", "button", "if press.longest_contact >= rules.hold_time:", "if press.longest_contact >= 0.1:"),
    _m("no press confirms", "inputs", "button", "if press.longest_contact >= rules.hold_time:", "if press.longest_contact >= 100:"),
    _m("a press of 0.07 s takes a close back", "inputs", "", "TAP_TIME = 0.15", "TAP_TIME = 0.0"),
    _m("a press right after the confirmation takes it back", "closes", "", "CHATTER = 0.5", "CHATTER = 0.0"),
    _m("no press takes a close back", "policy", "", "(CloseState.GRACE, By.PERSON, Input.TAPPED): Action.WITHDRAW,", ""),
    _m("a press takes back what is on its way", "closes", "standing", "CloseState.PENDING if self.handed_over else CloseState.GRACE", "CloseState.GRACE"),
    _m("a finger that came in time does not count", "closes", "grace_over", " and not press.began_before(close.grace_until)", ""),
    _m("a button that is stuck is no fault", "inputs", "button", "stuck = press.stuck or (level and now - since > rules.stuck_time)", "stuck = False"),
    # the reader
    _m("a reader arms at once", "inputs", "reader", "_has_run(line, rules) and not stale", "line.steady_for(True) >= 0.1 and not stale"),
    _m("a reader confirms at once", "inputs", "reader", "line.steady_for(False) >= rules.settle_time", "line.steady_for(False) >= 0.1"),
    _m("a reader confirms unarmed", "inputs", "reader", "state.armed and line.active is False", "line.active is False"),
    _m("one going-off confirms for ever", "inputs", "reader", "ReaderState(line, False, stale, flickering), Event.CONFIRM", "ReaderState(line, True, stale, flickering), Event.CONFIRM"),
    _m("a reader that is back changes nothing", "policy", "", "(CloseState.GRACE, By.READER, Input.READER_BACK): Action.WITHDRAW,", ""),
    _m("a reader that runs again holds nothing", "closes", "input_of_scan", "return Input.READER_SEEN", "pass"),
    _m("what armed is not kept for the next life", "station", "_set_reader", "yield KeepNote(note)", "pass"),
    _m("a press goes on for another session", "station", "configured", "press.voided(), reader.distrusted()", "press, reader.distrusted()"),
    _m("a reader goes on for another session", "station", "configured", "press.voided(), reader.distrusted()", "press.voided(), reader"),
    _m("what an earlier life saw counts for another session", "inputs", "resumed", "if found.token != now.token:", "if False:"),
    _m("a shorter settle time counts what was before", "station", "configured", "reader = replace(reader, line=reader.line.anew(now))", "pass"),
    _m("a withdrawal leaves the going-off under way", "inputs", "used_up", "self if rules and _has_run(self.line, rules) else replace(self, armed=False)", "self"),
    _m("a withdrawal while the daemon is down uses nothing up", "inputs", "resumed", 'used = confirmed or now.withdrawal not in ("", found.withdrawal)', "used = confirmed"),
    _m("a close that came and went between two looks uses nothing up", "station", "look", 'before is not None and found.withdrawal not in ("", before)', "False"),
    _m("time in which nobody looked counts", "inputs", "", "COUNTED_PAUSE = 0.25", "COUNTED_PAUSE = 99.0"),
    _m("a reader takes back what a person has confirmed, too", "closes", "by", "By.READER if self.record.reader_alone else By.READER_PERSON", "By.READER"),
    # grace, and the life of a close
    _m("there is no grace", "station", "_save", "saved.at + self.settings.close.grace", "saved.at"),
    _m("a restart gives the grace anew", "closes", "recovered_close", "age = min(max(age, 0.0), grace)", "age = 0.0"),
    _m("a restart ends the grace", "closes", "recovered_close", "age = min(max(age, 0.0), grace)", "age = grace"),
    _m("a command's grace is short by as long as a look at a slow disk takes", "station", "_follow", "record, found.at, found.uptime", "record, found.at - 0.7, found.uptime"),
    _m("an earlier withdrawal is taken for none", "spool", "_read_disk", "state == WITHDRAWN and self.records.withdrawal(token) == self._old_withdrawals.get(token)", "False"),
    _m("a withdrawal is taken for an earlier one", "spool", "_read_disk", "state == WITHDRAWN and self.records.withdrawal(token) == self._old_withdrawals.get(token)", "state == WITHDRAWN and self._old_withdrawals.get(token)"),
    _m("a card that does not answer has forgotten the end", "station", "look", "if found.session_closed is not None:", "if True:"),
    _m("a close that the card refused is dropped", "world", "_confirm", "self._spool.keep_in_memory(record, error)", "return self._saved(None)"),
    _m("the LED does not follow a withdrawal", "station", "look", "if gone in found.withdrawn:", "if True:\n                continue\n            if gone in found.withdrawn:"),
    _m("the daemon shows no life to systemd", "loop", "_feed_watchdog", 'self._systemd.tell("WATCHDOG=1")', "False"),
    # delivery
    _m("no look before the call", "delivery", "new_delivery", "_next(sent or alone, settings)", "Step.CLOSE"),
    _m("after a lost answer the call is repeated unread", "delivery", "_next", "settings.close.quiet > 0 or unsure", "settings.close.quiet > 0"),
    _m("a look that is old is good enough", "delivery", "stale", "return now - delivery.looked > look_every(settings) + delivery.took", "return False"),
    _m("two failed looks are no outage", "delivery", "_failed", "missed < 2", "missed < 99"),
    _m("the reader alone closes an empty session", "delivery", "on_answer", "if delivery.alone and (", "if False and ("),
    _m("passings make an empty session's close go on", "delivery", "on_answer", "if delivery.alone and (delivery.empty or ", "if delivery.alone and ("),
    _m("closed elsewhere is told as closed by us", "delivery", "on_answer", "elsewhere = delivery.looked is None and not delivery.lost", "elsewhere = False"),
    _m("RUFUS's patience is not heeded", "delivery", "asked", "min(answer.retry_after or 0.0, PATIENCE * settings.retry.max)", "0.0"),
    _m("a look does not heed RUFUS's patience", "deliveries", "turn", "max(self._look_at, self._not_before)", "self._look_at"),
    _m("a new close does not heed RUFUS's patience", "deliveries", "_add", "due = max(begun.due, self._not_before)", "due = begun.due"),
    _m("it is forgotten that RUFUS has answered this key", "courier", "_make_client", "self._spool.has_answered(self._mark)", "False"),
    _m("a gateway that refused from the start was no outage", "delivery", "on_answer", "if verdict.own and delivery.unheard:", "if False:"),
    _m("a withdrawn close's call is forgotten", "spool", "call_begun", "for each in (self._pending(token), earlier)", "for each in (self._pending(token),)"),
    _m("a weak answer is taken for closed", "delivery", "on_answer", "if verdict.meaning is Meaning.CLOSED:", "if verdict.meaning in (Meaning.CLOSED, Meaning.UNREADABLE):"),
    _m("nothing is waited for", "delivery", "_waited", "changed + close.quiet", "changed"),
    _m("passings do not matter", "delivery", "_waited", "passings != delivery.passings", "False"),
    _m("an outage does not begin the wait anew", "delivery", "_failed", "delivery.waiting if kept else None", "delivery.waiting"),
    _m("a refusal is taken for closed", "delivery", "judge_close", "return Verdict(Meaning.REFUSED", "return Verdict(Meaning.CLOSED"),
    _m("the courier forgets to ask the spool", "courier", "_stops", "pending = self._spool.mark_sent(due.token, self._utc())", "pending = True"),
    _m("the courier does not tell that it is closed", "deliveries", "_take", "yield MarkClosed(then)", "pass"),
    _m("an unclear answer is taken for closed", "delivery", "_after_close", "if verdict.meaning is Meaning.UNSURE:", "if verdict.meaning is Meaning.UNSURE:\n        return replace(delivery, closed=True)\n    if False:"),
    _m("a refused close is never tried again", "delivery", "_paused", "due=now + max(pause, rest)", "due=now + 1e6"),
    # what it says
    _m("the status file stays what it was", "runtime", "write_status", "self._replace(self._status", "(lambda *_: None)(self._status"),
    _m("closed is shown as armed", "view", "show", "return Indication.CLOSED", "return Indication.ARMED"),
    _m("pending is not shown", "view", "show", "return Indication.FAULT_PENDING if fault else Indication.PENDING", "return Indication.ARMED"),
    _m("let go is shown too soon", "inputs", "held", "self.longest_contact >= self.rules.hold_time", "self.longest_contact >= 0.1"),
    _m("armed is shown before it is", "view", "waits_for", "not (view.reader_state.armed or view.reader_state.stale)", "False"),
    _m("a command that failed says that it confirmed", "close", "run", "return files.report_write_error(spool, token, PENDING, error)", "pass"),
    _m("the key is logged", "loop", "_start", "session.name, session", "self._station.settings.api.key, session"),
    _m("a broken configuration is no fault", "configuration", "valid", "return all(problem.warning for problem in self.problems)", "return True"),
)  # fmt: skip


def fitting(mutant: Mutant) -> Change:
    """The change that fits the source as it is. Raises LookupError with all that do not."""
    from .product import changed, source_of

    errors = []
    for change in mutant.changes:
        try:
            changed(source_of(change.module).read_text(encoding="utf-8"), change)
            return change
        except LookupError as error:
            errors.append(str(error))
    raise LookupError(f"the mutant {mutant.name!r} has to be written anew: {'; '.join(errors)}")


_plain: list[Product] = []


def hunt(mutant: Mutant, most: int = MOST) -> tuple[int, str, float]:
    """The seed of the first race that catches it (0 if none does), what that race says, and the seconds it took."""
    began = time.monotonic()
    if not _plain:
        _plain.append(Product())
    made, plain = Product(fitting(mutant)), _plain[0]
    for seed in range(1, most + 1):
        story = write(seed)
        _, problems = play(story, made)
        if problems and not play(story, plain)[1]:
            return seed, problems[0][0], time.monotonic() - began
    return 0, "not caught", time.monotonic() - began


def _hunt(asked: tuple[str, int]) -> tuple[str, int, str, float]:
    name, most = asked
    try:
        return (name, *hunt(next(each for each in MUTANTS if each.name == name), most))
    except LookupError as error:
        return name, 0, str(error), 0.0


def _check() -> int:
    wrong = 0
    for mutant in MUTANTS:
        try:
            fitting(mutant)
        except LookupError as error:
            wrong += 1
            print(error)
    return 1 if wrong else 0


def main(arguments: list[str]) -> int:
    """The exit status: 1 where a mutant is not caught."""
    parser = argparse.ArgumentParser("simulation.mutants")
    parser.add_argument("--jobs", type=int, default=2, help="how many at the same time")
    parser.add_argument("--most", type=int, default=MOST, help="races for each at most")
    parser.add_argument("--check", action="store_true", help="only see whether each still fits the source")
    parser.add_argument("names", nargs="*", help="these only; the table stays as it is then")
    options = parser.parse_args(arguments)
    if options.check:
        return _check()
    names = options.names or [each.name for each in MUTANTS]
    rows, missed = {}, 0
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for name, seed, what, seconds in pool.imap_unordered(_hunt, [(each, options.most) for each in names]):
            missed += not seed
            caught = f"race {seed}" if seed else "NOT CAUGHT"
            print(f"{name:52} {caught:12} {what[:100]} ({seconds:.0f} s)", flush=True)
            rows[name] = f"| {name} | {seed or f'not in {options.most}'} | {what} |"
    print(f"{len(rows) - missed} of {len(rows)} caught within {options.most} races")
    if not options.names:
        caught = f"{len(rows) - missed} of {len(rows)} were caught within {options.most} races."
        table = "\n".join(
            [caught, "", "| mutant | caught by race | as |", "|---|---|---|", *(rows[name] for name in names)]
        )
        text = README.read_text(encoding="utf-8")
        text = re.sub(
            r"(<!-- mutants -->\n).*?(\n<!-- end -->)", lambda found: found[1] + table + found[2], text, flags=re.S
        )
        README.write_text(text, encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
