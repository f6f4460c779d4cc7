#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The manual agrees with the program: every option and every key of a simulated device is described, and nothing else
# is; every JSON document can be parsed. $2 is the directory of the manual pages.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
pages=$2

for verb in list run serve stats doctor; do
    "$viaduct" help "$verb" | sed -n 's/^  --\([a-z-]*\).*/\1/p' | grep -vx help | sort >"$scratch/program"
    sed -n 's/^\.It Fl -\([a-z-]*\).*/\1/p' "$pages/viaduct-$verb.1" | grep -vx -e - -e '' | sort >"$scratch/manual"
    fact "manual_of_${verb}_has_its_options" diff "$scratch/program" "$scratch/manual"
done
"$viaduct" list --json >"$scratch/list.json" 2>"$scratch/err"
fact manual_of_sim_has_every_key_and_default python3 - "$scratch/list.json" "$pages/viaduct-sim.7" <<'E2'
import json, re, sys
kinds = json.load(open(sys.argv[1]))["simulated"]
sections = re.split(r"^\.S[sh] ", open(sys.argv[2]).read(), flags=re.M)
sections = {text.split("\n", 1)[0]: text for text in sections}
entries = lambda text: dict(re.findall(r"^\.It Cm (\w+)= (.*?)(?=^\.It|\Z)", text, flags=re.M | re.S))
shared = entries(sections["The IOMMU"])
bad = []
for kind in kinds:
    known = {**entries(sections[kind["address"]]), **shared}
    options = {option["key"]: option for option in kind["options"]}
    bad += [kind["address"] + " " + key for key in set(known) ^ set(options)]
    for key in set(known) & set(options):
        default = options[key]["default"]
        if default and default not in known[key].replace("\n", " ").split("efault", 1)[-1]:
            bad.append("%s %s: default %s" % (kind["address"], key, default))
print("# disagree:", bad) if bad else None
sys.exit(bool(bad) or not kinds)
E2
fact list_has_both_kinds_of_devices python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
assert {k["address"] for k in d["simulated"]} == {"sim:nvme", "sim:edu"}
assert all(o["help"] and o["values"] for k in d["simulated"] for o in k["options"])
assert d["host"]["available"] or d["host"]["reason"]
' "$scratch/list.json"
fake_qemu "$scratch/qemu" 11.1.3 yes 'exit 0'
"$viaduct" doctor --json --qemu "$scratch/qemu" >"$scratch/doctor.json" 2>"$scratch/err"
fact doctor_json_gives_each_check_a_status python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
assert d["ok"] is True
assert {c["status"] for c in d["checks"]} <= {"ok", "warn"}
assert {"qemu", "acceleration", "memory", "runtime", "memlock", "vfio"} <= {c["name"] for c in d["checks"]}
assert all(c["remedy"] for c in d["checks"] if c["status"] != "ok")
' "$scratch/doctor.json"
for page in viaduct.1 viaduct-list.1 viaduct-run.1 viaduct-serve.1 viaduct-stats.1 viaduct-doctor.1 viaduct-sim.7 \
    viaduct-dextd.1; do
    fact "page_${page}_exists" test -s "$pages/$page"
done
finish
