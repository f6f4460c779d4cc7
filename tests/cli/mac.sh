#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What `doctor` says of a Mac, in every state, with stand-ins for the programs of macOS. What they print is written
# after what such programs have been seen to print; no Mac was there.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

fake_qemu "$scratch/qemu" 11.1.3 yes 'exit 0'
root=$scratch/root
app=$root/Applications/Viaduct.app
id=org.example.viaduct.VFIOUserPCIDriver
bundle=$app/Contents/Library/SystemExtensions/$id.dext
installed=$root/Library/SystemExtensions/0A1B2C3D/$id.dext
says=$scratch/says
mkdir -p "$says" "$scratch/mac"
PATH=$scratch/mac:$PATH
VIADUCT_DOCTOR_MAC=$root
export PATH VIADUCT_DOCTOR_MAC

# Every stand-in prints the file of its name, or of its name and first word.
for program in sw_vers csrutil system_profiler systemextensionsctl; do
    cat >"$scratch/mac/$program" <<FAKE
#!/bin/sh
[ -e "$says/$program-\$1" ] && exec cat "$says/$program-\$1"
exec cat "$says/$program"
FAKE
done
# codesign is asked about the app, the extension, and the program itself.
cat >"$scratch/mac/codesign" <<FAKE
#!/bin/sh
echo "Executable=\$4" >&2
[ "\$1 \$2 \$3" = "-d --entitlements -" ] || exit 2
case \$4 in
*.app) cat "$says/rights-app" ;;
*.dext) cat "$says/rights-extension" ;;
*) cat "$says/rights-program" ;;
esac
FAKE
chmod 755 "$scratch/mac/"*

extension() { # STATE [VERSION]: a line of systemextensionsctl's list
    printf '%s\t%s\tABCDE12345\t%s (%s)\tVFIOUserPCIDriver\t[%s]\n' '*' '*' "$id" "${2-0.1.0/7}" "$1"
}

listing() { # LINES: the list, with somebody else's extension in it
    {
        echo '2 extension(s)'
        printf -- "--- com.apple.system_extension.driver_extension (Go to 'System Settings > General > Login Items & "
        printf "Extensions > Driver Extensions' to modify these system extension(s))\n"
        printf 'enabled\tactive\tteamID\tbundleID (version)\tname\t[state]\n'
        printf '\t*\tZYXWV98765\tcom.example.hid (1.1.19/1.1.19)\tSomebody Else\t[activated disabled]\n'
        printf '%s\n' "$@"
    } >"$says/systemextensionsctl-list"
}

# A Mac where everything is as it should be.
good_mac() {
    rm -rf "$root" "${says:?}"/*
    mkdir -p "$bundle" "$installed"
    printf 'ProductName:\t\tmacOS\nProductVersion:\t\t15.5\nBuildVersion:\t\t24F74\n' >"$says/sw_vers"
    echo 'System Integrity Protection status: enabled.' >"$says/csrutil"
    cat >"$says/systemextensionsctl-developer" <<'E2'
At this time, this tool cannot be used if System Integrity Protection is enabled.
This limitation will be removed in the near future.
Please remember to re-enable System Integrity Protection!
E2
    listing "$(extension 'activated enabled')"
    cat >"$says/rights-app" <<'E2'
[Dict]
	[Key] com.apple.developer.system-extension.install
	[Value]
		[Bool] true
E2
    cat >"$says/rights-extension" <<'E2'
[Dict]
	[Key] com.apple.developer.driverkit
	[Value]
		[Bool] true
	[Key] com.apple.developer.driverkit.transport.pci
	[Value]
		[Array]
			[Dict]
				[Key] IOPCIPrimaryMatch
				[Value]
					[String] 0x4e561234&0xffffffff
E2
    cat >"$says/rights-program" <<E2
[Dict]
	[Key] com.apple.developer.driverkit.userclient-access
	[Value]
		[Array]
			[String] com.example.other
			[String] $id
	[Key] com.apple.security.hypervisor
	[Value]
		[Bool] true
E2
    cat >"$says/system_profiler" <<'E2'
{
  "SPThunderboltDataType" : [
    {
      "_items" : [
        {
          "_items" : [ { "_name" : "Display", "mode_key" : "usb_four" } ],
          "_name" : "Enclosure",
          "device_name_key" : "Enclosure",
          "mode_key" : "usb_four_v2",
          "receptacle_upstream_ambiguous_tag" : {
            "current_speed_key" : "80 Gb/s",
            "receptacle_status_key" : "receptacle_connected"
          },
          "vendor_name_key" : "Example"
        }
      ],
      "_name" : "thunderboltusb4_bus_1",
      "device_name_key" : "Mac Studio",
      "receptacle_1_tag" : {
        "current_speed_key" : "80 Gb/s",
        "receptacle_id_key" : "2",
        "receptacle_status_key" : "receptacle_connected"
      }
    },
    {
      "_name" : "thunderboltusb4_bus_0",
      "device_name_key" : "Mac Studio",
      "receptacle_1_tag" : {
        "current_speed_key" : "Up to 120 Gb/s",
        "receptacle_id_key" : "1",
        "receptacle_status_key" : "receptacle_no_devices_connected"
      }
    }
  ]
}
E2
}

# mac NAME CHECK VERDICT TEXT...: doctor's finding has every TEXT (in the remedy or the text), and the exit status fits.
mac() {
    name=$1
    shift
    run "$viaduct" doctor --json --qemu "$scratch/qemu"
    python3 - "$scratch/out" "$status" "$@" <<'E2'
import json, sys
path, status, name, verdict, texts = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:]
document = json.load(open(path))
found = [check for check in document["checks"] if check["name"] == name]
all_text = " ".join(check["text"] + " " + (check["remedy"] or "") for check in found)
ok = len(found) == (0 if verdict == "none" else 1) and status == (0 if document["ok"] else 1)
ok = ok and all(check["status"] == verdict and bool(check["remedy"]) == (verdict != "ok") for check in found)
ok = ok and all(text in all_text for text in texts) and (verdict != "fail" or not document["ok"])
sys.exit(not ok)
E2
    report $? "$name"
}

good_mac
mac good_mac_has_its_version macos ok "macOS 15.5"
fact good_mac_passes test "$status" -eq 0
good_mac
mac extension_enabled_is_ok extension ok "$id 0.1.0/7 [activated enabled]"
mac sip_on_is_told sip ok "Protection is on"
mac developer_mode_refused_under_sip_is_ok "developer mode" ok "not to be had"
mac app_in_applications_is_ok app ok "$app"
mac app_that_may_install_is_ok "app rights" ok "may install"
mac extension_with_its_rights_is_ok rights ok "$id is signed"
mac program_with_its_right_may_connect access ok "$viaduct" "$id"
mac thunderbolt_5_is_told thunderbolt ok "2 ports" "Thunderbolt 5 (up to 120 Gb/s)" \
    "Enclosure (80 Gb/s, USB4 v2), Display (USB4)"
accepts text_has_the_checks "ok    macos " "ok    extension " "ok    thunderbolt " -- doctor --qemu "$scratch/qemu"
VIADUCT_DOCTOR_MAC=
mac other_systems_are_not_asked macos none
VIADUCT_DOCTOR_MAC=$root

# The extension.

listing "$(extension 'activated waiting for user')"
mac extension_waiting_for_the_user_fails extension fail "allow it in System Settings" "nobody has allowed it"
listing "$(extension 'activated disabled')"
mac extension_switched_off_fails extension fail "switch it on in System Settings"
listing "$(extension 'terminated waiting to uninstall on reboot')"
mac extension_terminated_fails extension fail "goes at the next restart" "restart the Mac"
listing "$(extension 'validating by category')"
mac extension_in_another_state_warns extension warn "[validating by category]" "does not know"
listing "$(extension 'terminated waiting to uninstall on reboot' 0.0.9/3)" "$(extension 'activated enabled')"
mac extension_beside_its_old_copy_is_ok extension ok "0.1.0/7" "an older copy goes"
listing "$(extension 'activated enabled')" "$(extension 'terminated waiting to uninstall on reboot' 0.0.9/3)"
mac extension_before_its_old_copy_is_ok extension ok "0.1.0/7" "an older copy goes"
printf '1 extension(s)\n*       *       ABCDE12345      %s (1/1)    X   [activated enabled]\n' "$id" \
    >"$says/systemextensionsctl-list"
mac list_with_blanks_is_read extension ok "$id 1/1"
listing
rm -rf "$root"
mac extension_absent_warns extension warn "not installed" "dext/shell"
fact mac_without_the_extension_passes test "$status" -eq 0
mac app_absent_warns app warn "no app in $root/Applications" "dext/shell"
mac rights_of_nothing_are_not_asked rights none
mac access_to_nothing_is_not_asked access none
echo '0 extension(s)' >"$says/systemextensionsctl-list"
mac empty_list_has_no_extension extension warn "not installed"
echo 'Segmentation fault' >"$says/systemextensionsctl-list"
mac list_that_is_none_warns extension warn "cannot tell" "Segmentation fault"
: >"$says/systemextensionsctl-list"
mac list_of_nothing_warns extension warn "says nothing"
good_mac
rm -rf "$app"
mac extension_without_its_app_warns app warn "neither updated nor removed"
mac installed_extension_is_checked_without_the_app rights ok "$id"
good_mac
rm -rf "$installed"
mac extension_of_the_app_is_checked_before_it_is_installed rights ok "$id"

# Signatures.

good_mac
echo "$app: code object is not signed at all" >"$says/rights-app"
mac unsigned_app_fails "app rights" fail "not signed" "README of dext/shell"
: >"$says/rights-app"
mac app_without_its_right_fails "app rights" fail com.apple.developer.system-extension.install
good_mac
sed -i 's/\[Bool\] true/[Bool] false/' "$says/rights-extension"
mac extension_without_driverkit_fails rights fail "lacks the entitlement com.apple.developer.driverkit"
good_mac
sed -i 's/transport.pci/transport.usb/' "$says/rights-extension"
mac extension_without_pci_fails rights fail "com.apple.developer.driverkit.transport.pci"
good_mac
: >"$says/rights-program"
mac program_without_the_right_may_not_connect access fail "may not connect" "is missing, for $id" "client.entitlements"
sed -n '/userclient-access/,$p' >"$says/rights-program" <<'E2'
[Dict]
	[Key] com.apple.developer.driverkit.userclient-access
	[Value]
		[Array]
			[String] org.example.viaduct.VFIOUserPCIDriver2
	[Key] other
	[Value]
		[String] org.example.viaduct.VFIOUserPCIDriver
E2
mac right_for_another_extension_is_not_enough access fail "does not name $id"
echo "viaduct: code object is not signed at all" >"$says/rights-program"
mac unsigned_program_may_not_connect access fail "is not signed"
cat >>"$says/rights-extension" <<'E2'
	[Key] com.apple.developer.driverkit.allow-any-userclient-access
	[Value]
		[Bool] true
E2
mac extension_for_everybody_needs_no_right access ok "every program"
sed -i 's/\[Bool\] true/[Bool] false/' "$says/rights-extension"
mac right_that_is_false_is_none access fail "is not signed"
good_mac
cat >"$says/rights-extension" <<'E2'
<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict><key>com.apple.developer.driverkit</key><true/>
<key>com.apple.developer.driverkit.transport.pci</key><array><dict><key>IOPCIPrimaryMatch</key><string>0x1</string></dict>
</array></dict></plist>
E2
printf '<dict><key>com.apple.developer.driverkit.userclient-access</key>\n<array>\n<string>%s</string></array></dict>\n' \
    "$id" >"$says/rights-program"
mac property_list_of_the_extension_is_read rights ok "$id"
mac property_list_of_the_program_is_read access ok "$id"
sed -i 's/Driver</Driver2</' "$says/rights-program"
mac property_list_for_another_extension_is_not_enough access fail "does not name"

# The system.

good_mac
echo 'System Integrity Protection status: disabled.' >"$says/csrutil"
mac sip_off_is_told sip ok "Protection is off"
echo 'System Integrity Protection status: enabled (Custom Configuration).' >"$says/csrutil"
mac sip_partly_off_is_told sip ok "partly off"
echo 'csrutil: failed' >"$says/csrutil"
mac sip_unknown_warns sip warn "csrutil: failed"
echo 'Developer mode is on' >"$says/systemextensionsctl-developer"
mac developer_mode_on_is_told "developer mode" ok "on: "
echo 'Developer mode is off.' >"$says/systemextensionsctl-developer"
mac developer_mode_off_is_told "developer mode" ok "off: "
echo 'Developer mode is now enabled' >"$says/systemextensionsctl-developer"
mac developer_mode_in_other_words_is_told "developer mode" ok "on: "
echo 'usage: what' >"$says/systemextensionsctl-developer"
mac developer_mode_unknown_warns "developer mode" warn "usage: what"
printf 'ProductVersion: 10.15.7\n' >"$says/sw_vers"
mac macos_before_driverkit_for_pci_fails macos fail "10.15.7" "macOS 11"
printf 'ProductVersion:\n' >"$says/sw_vers"
mac macos_without_a_version_warns macos warn "cannot tell"

# Thunderbolt.

good_mac
echo '{"SPThunderboltDataType": []}' >"$says/system_profiler"
mac no_thunderbolt_port_warns thunderbolt warn "no Thunderbolt port"
cat >"$says/system_profiler" <<'E2'
2026-01-01 system_profiler: a complaint
{"SPThunderboltDataType": [{"_name": "thunderboltusb4_bus_0", "receptacle_1_tag": {"current_speed_key": "Up to 40 Gb/s"}},
    {"_items": 7, "receptacle_1_tag": {}}, 3]}
E2
mac thunderbolt_4_is_told thunderbolt ok "2 ports, Thunderbolt 3 or 4 (up to 40 Gb/s); attached: nothing"
cat >"$says/system_profiler" <<'E2'
{"SPThunderboltDataType": [{"receptacle_1_tag": {"current_speed_key": "20 Gb/s"},
    "_items": [{"_name": "Disk"}, 5, {}]}]}
E2
mac speed_of_a_cable_is_a_lower_bound thunderbolt ok "1 port, at least Thunderbolt 2 (now 20 Gb/s)" \
    "Disk, a device without a name"
echo '{"SPThunderboltDataType": [' >"$says/system_profiler"
mac thunderbolt_cut_short_warns thunderbolt warn "cannot tell"

# Programs that are missing.

good_mac
for program in sw_vers csrutil system_profiler systemextensionsctl codesign; do
    mv "$scratch/mac/$program" "$scratch/kept"
    case $program in
    sw_vers) mac missing_sw_vers_warns macos warn "no program 'sw_vers'" ;;
    csrutil) mac missing_csrutil_warns sip warn "no program 'csrutil'" ;;
    system_profiler) mac missing_system_profiler_warns thunderbolt warn "no program 'system_profiler'" ;;
    systemextensionsctl) mac missing_systemextensionsctl_warns extension warn "no program" ;;
    codesign) mac missing_codesign_warns rights warn "no program 'codesign'" "xcode-select" ;;
    esac
    mv "$scratch/kept" "$scratch/mac/$program"
done
finish
