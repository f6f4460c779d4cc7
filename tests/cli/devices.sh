#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What the command says when a device, a file, a directory or QEMU is not what it should be. Wrong words exit with 2, a
# world that is not as it should be with 1.
# shellcheck disable=SC2086 # lists of words are wanted
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

device() { # NAME STATUS TEXT... -- ADDRESS
    name=$1 code=$2
    shift 2

    for last; do :; done
    address=$last
    run "$viaduct" run --dry-run --vfio "host=$address"
    good=0
    [ "$status" -eq "$code" ] || good=1
    grep '^viaduct: error: ' "$scratch/err" >"$scratch/line" || good=1
    while [ "$1" != -- ]; do
        grep -qF -e "$1" "$scratch/line" || good=1
        shift
    done
    grep -qF -e "--vfio host=$address" "$scratch/line" || good=1
    report "$good" "$name"
}

device unknown_back_end_is_refused 2 "sim:nvme" "viaduct list" -- pigeon:1
device unknown_simulated_kind_is_refused 2 "floppy" "nvme" -- sim:floppy
device malformed_linux_address_is_refused 2 "0000:01:00.9" -- 0000:01:00.9
device linux_address_is_refused_for_want_of_a_back_end 1 "VFIO" "not part of this build" -- 0000:01:00.0
device short_linux_address_is_refused_for_want_of_a_back_end 1 "VFIO" -- 01:00.0
device malformed_apple_address_is_refused 2 "apple:BB:DD.F" -- apple:01:00.9
device rom_that_is_not_there_is_refused 1 "rom=$scratch/none.rom" "No such file" "off for none" -- \
    "sim:nvme,rom=$scratch/none.rom"
: >"$scratch/empty.rom"
device empty_rom_is_refused 2 "rom=$scratch/empty.rom" "empty" -- "sim:nvme,rom=$scratch/empty.rom"
device directory_as_rom_is_refused 2 "rom=$scratch" "regular file" -- "sim:nvme,rom=$scratch"
device unknown_sim_option_is_refused 2 "prot" "image" -- sim:nvme,prot=a
device duplicate_sim_option_is_refused 2 "seed" -- sim:nvme,seed=1,seed=2
device bad_sim_value_is_refused 2 "iommu" "chosen" "assigned" -- sim:nvme,iommu=perhaps
device missing_image_is_refused 1 "$scratch/none.img" "truncate" -- "sim:nvme,image=$scratch/none.img"
device directory_as_image_is_refused 2 "directory" -- "sim:nvme,image=$scratch"
# Not even root may open this file for writing.
device read_only_image_is_refused 1 "cannot be written" "readonly=on" -- sim:nvme,image=/sys/kernel/uevent_seqnum
truncate -s 1048577 "$scratch/odd.img"
device image_of_odd_size_is_refused 2 "1048577" "sector=512" -- "sim:nvme,image=$scratch/odd.img"
device identity_on_assigned_addresses_is_refused 1 "identity" "iommu=chosen" "dma=paravirt" -- \
    sim:nvme,iommu=assigned,dma=identity
device strategy_offset_is_refused 1 "dma=offset" "not built" "dma=auto" -- sim:nvme,iommu=assigned,dma=offset
device strategy_pool_is_refused 1 "dma=pool" "not built" "dma=auto" -- sim:nvme,dma=pool
device place_in_the_guest_without_companion_is_refused 2 "guest=02:00.0" "is identity" "leave it out" -- \
    sim:nvme,guest=02:00.0

refuses socket_in_a_missing_directory_is_refused 1 "$scratch/no/where" -- \
    serve --vfio "host=sim:nvme,socket=$scratch/no/where"
refuses socket_below_a_file_is_refused 1 "$scratch/disk.img/s" -- \
    serve --vfio "host=sim:nvme,socket=$scratch/disk.img/s"
refuses socket_without_permission_is_refused 1 "/sys/kernel/v.sock" -- \
    serve --vfio host=sim:nvme,socket=/sys/kernel/v.sock
refuses socket_over_a_file_is_refused 1 "$scratch/disk.img" -- \
    serve --vfio "host=sim:nvme,socket=$scratch/disk.img"
fact file_at_the_socket_path_survives test -f "$scratch/disk.img"
refuses serve_refuses_identity_on_assigned_addresses 1 "iommu=chosen" -- \
    serve --vfio "host=sim:nvme,iommu=assigned,dma=identity,socket=$scratch/s"

# The address keeps its own options, wherever the keys of --vfio stand among them.
accepts dry_run_prints_one_command "-device" '"driver":"vfio-user-pci"' '"bus":"p0"' "share=on" "id=p0,bus=pcie.0" -- \
    run --dry-run --vfio "host=sim:nvme,iommu=chosen,port=p0,image=$scratch/disk.img,dma=identity,seed=3"
cp "$scratch/disk.img" "$scratch/a,b.img"
accepts doubled_comma_is_a_comma_in_the_path "vfio-user-pci" -- \
    run --dry-run --vfio "host=sim:nvme,image=$scratch/a,,b.img"
accepts ports_are_named_and_do_not_collide "id=port0,bus" "id=port1,bus" "chassis=2,slot=2" -- \
    run --dry-run --vfio host=sim:nvme --vfio host=sim:edu,port=port0
accepts console_is_added_to_the_kernel_line "'console=ttyS0 quiet it'\\''s'" "-no-reboot" -- \
    run --dry-run --arch x86_64 --vfio host=sim:nvme --kernel "$scratch/disk.img" --append "quiet it's" -- -no-reboot
accepts given_console_is_kept "-append console=hvc0" -- \
    run --dry-run --vfio host=sim:nvme --kernel "$scratch/disk.img" --append console=hvc0
accepts raw_disk_is_raw '"driver":"raw"' -- run --dry-run --vfio host=sim:nvme --disk "$scratch/disk.img"
printf 'QFI\373' >"$scratch/q.img"
accepts qcow2_disk_is_recognised '"driver":"qcow2"' -- run --dry-run --vfio host=sim:nvme --disk "$scratch/q.img"
accepts aarch64_is_a_virt_machine "virt," "tcg,thread=multi" "size=2048M" -- \
    run --dry-run --arch aarch64 --accel tcg --memory 2G --vfio host=sim:nvme
fact dry_run_makes_no_directory test ! -e "$XDG_RUNTIME_DIR/viaduct"

refuses missing_kernel_is_named 1 "--kernel $scratch/vmlinuz" "No such file" -- \
    run --vfio host=sim:nvme --kernel "$scratch/vmlinuz"
refuses missing_disk_is_named 1 "--disk $scratch/none.img" -- run --vfio host=sim:nvme --disk "$scratch/none.img"
refuses directory_as_disk_is_named 1 "--disk $scratch" "directory" -- run --vfio host=sim:nvme --disk "$scratch"

tcg="run --accel tcg --vfio host=sim:nvme"
qemu_absent() { # PATH without any QEMU
    ln -sf "$(command -v sh)" "$scratch/bin/sh"
    before=$PATH
    PATH=$scratch/bin
    # The rest of the test needs its own programs back.
    "$viaduct" $tcg >"$scratch/out" 2>"$scratch/err" </dev/null
    status=$?
    PATH=$before
    [ "$status" -eq 1 ] && grep -F "QEMU is missing" "$scratch/err" | grep -F "10.1" | grep -qF -e "--qemu"
}
fact missing_qemu_is_refused_with_the_remedy qemu_absent
refuses named_qemu_that_does_not_exist_is_refused 1 "--qemu $scratch/none" "10.1" -- $tcg --qemu "$scratch/none"
refuses named_qemu_that_is_no_program_is_refused 1 "--qemu $scratch/disk.img" "Permission denied" -- \
    $tcg --qemu "$scratch/disk.img"
fake_qemu "$scratch/old" 7.2.19 no 'exit 0'
refuses old_qemu_is_refused_with_its_version 1 "$scratch/old" "7.2.19" "vfio-user-pci" "10.1" -- \
    $tcg --qemu "$scratch/old"
printf '#!/bin/sh\nexit 3\n' >"$scratch/broken"
chmod 755 "$scratch/broken"
refuses broken_qemu_is_refused 1 "$scratch/broken" "not a working QEMU" -- $tcg --qemu "$scratch/broken"
printf '#!/no/such/shell\n' >"$scratch/unstartable"
chmod 755 "$scratch/unstartable"
refuses unstartable_qemu_is_refused 1 "$scratch/unstartable" "does not run" -- $tcg --qemu "$scratch/unstartable"
VIADUCT_QEMU=$scratch/none
export VIADUCT_QEMU
refuses qemu_of_the_environment_is_named 1 "\$VIADUCT_QEMU $scratch/none" -- $tcg
unset VIADUCT_QEMU
doctor_fails() {
    "$viaduct" doctor --qemu "$scratch/none" >"$scratch/out" 2>"$scratch/err"
    [ $? -eq 1 ] && grep -q "^fail  qemu .*$scratch/none" "$scratch/out" && grep -q "mend it: QEMU 10.1" "$scratch/out"
}
fact doctor_fails_without_qemu doctor_fails

fake_qemu "$scratch/qemu" 11.1.3 yes 'exit 0'
accepts doctor_passes_with_a_good_qemu "11.1.3" "ok    memory" -- doctor --qemu "$scratch/qemu"
rm -rf "$XDG_RUNTIME_DIR/viaduct"
mkdir -m 755 "$XDG_RUNTIME_DIR/viaduct"
refuses runtime_directory_open_to_others_is_refused 1 "$XDG_RUNTIME_DIR/viaduct" "not private" "XDG_RUNTIME_DIR" -- \
    $tcg --qemu "$scratch/qemu"
rmdir "$XDG_RUNTIME_DIR/viaduct"
XDG_RUNTIME_DIR=/sys/kernel
refuses runtime_directory_without_permission_is_refused 1 "/sys/kernel/viaduct" "XDG_RUNTIME_DIR" -- \
    $tcg --qemu "$scratch/qemu"
XDG_RUNTIME_DIR=$scratch/$(printf '%080d' 0)
mkdir -m 700 "$XDG_RUNTIME_DIR"
refuses runtime_directory_with_a_long_path_is_refused 1 "107" "XDG_RUNTIME_DIR" -- $tcg --qemu "$scratch/qemu"
finish
