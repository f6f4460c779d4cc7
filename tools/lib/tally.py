# SPDX-License-Identifier: BSD-3-Clause
"""Counts individual test cases: tally.py PHASE FILE..., each a TAP file or Meson's testlog.json.

Prints what failed and what was skipped and why; the last line is "PASSED FAILED SKIPPED" for tools/test. A program that
crashes, times out or says less than it planned is a failure of its own, even when every line it got to is good.
"""

import json
import re
import sys

LINE = re.compile(r'^\s*(not )?ok\b\s*(\d+)?\s*-?\s*([^#]*)(?:#\s*(\w+)\s*(.*))?$')
PLAN = re.compile(r'^1\.\.(\d+)(?:\s*#\s*(?:SKIP|skip)\s*(.*))?')
CONTEXT = 25  # lines of output shown with a failure


class Tally:
    def __init__(self, phase):
        self.phase, self.passed, self.failed, self.skipped = phase, 0, 0, 0

    def fail(self, name, why=''):
        self.failed += 1
        print(f'  FAILED {self.phase}: {name}')
        for line in why.splitlines()[-CONTEXT:]:
            print(f'    {line}')

    def skip(self, name, why):
        self.skipped += 1
        print(f'  skipped {self.phase}: {name}: {why or "no reason given"}')

    def tap(self, source, text):
        """Counts TAP; whether a failure was among it."""
        planned, seen, failed, lines = None, 0, self.failed, text.splitlines()
        for number, line in enumerate(lines):
            plan = PLAN.match(line)
            if plan:
                planned = int(plan[1])
                if planned == 0:
                    self.skip(source, plan[2])
                continue
            found = LINE.match(line)
            if not found:
                continue
            seen += 1
            name = f'{source}: {found[3].strip()}'
            if (found[4] or '').upper() == 'SKIP':
                self.skip(name, found[5])
            elif found[1]:
                # What explains a failure follows it as comments.
                why = []
                for comment in lines[number + 1:]:
                    if not comment.startswith('#'):
                        break
                    why.append(comment)
                self.fail(name, '\n'.join(why[:CONTEXT]))
            else:
                self.passed += 1
        if planned is None:
            self.fail(source, f'no plan: it stopped after {seen} cases\n' + '\n'.join(lines[-CONTEXT:]))
        elif planned != seen:
            self.fail(source, f'{planned} cases planned, {seen} seen\n' + '\n'.join(lines[-CONTEXT:]))
        return self.failed > failed

    def meson(self, path):
        with open(path) as log:
            for line in log:
                test = json.loads(line)
                name, out = test['name'], test.get('stdout') or ''
                good = test['result'] in ('OK', 'EXPECTEDFAIL', 'SKIP')
                if 'ok ' in out or PLAN.search(out):
                    told = self.tap(name, out)
                elif test['result'] == 'SKIP':
                    self.skip(name, out.strip().splitlines()[-1] if out.strip() else '')
                    continue
                elif good:
                    self.passed += 1
                    continue
                else:
                    told = False
                if not good:
                    why = f'{test["result"]}, exit code {test.get("returncode")}\n{test.get("stderr") or ""}'
                    if told:
                        print('\n'.join('    ' + text for text in why.splitlines()[-CONTEXT:]))
                    else:
                        self.fail(name, why)


def main():
    tally = Tally(sys.argv[1])
    for path in sys.argv[2:]:
        if path.endswith('.json'):
            tally.meson(path)
        else:
            with open(path, errors='replace') as text:
                tally.tap(path.rsplit('/', 1)[-1].removesuffix('.tap'), text.read())
    print(tally.passed, tally.failed, tally.skipped)


main()
