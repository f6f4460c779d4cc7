#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Help, and what the command says to a wrong command line: the option, the value, what is allowed. Exit code 2.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

verbs="list run serve stats doctor"

accepts help_lists_the_verbs list run serve stats doctor -- --help
accepts help_verb_alone_lists_the_verbs doctor -- help
accepts version_is_a_number "viaduct 0." -- --version
for verb in $verbs; do
    accepts "help_${verb}_prints_usage" "Usage: viaduct $verb" -- help "$verb"
    accepts "${verb}_help_prints_usage" "Usage: viaduct $verb" -- "$verb" --help
    refuses "${verb}_unknown_option_is_named" 2 "--bogus" "'viaduct $verb'" "allowed are --" -- "$verb" --bogus=1
    refuses "${verb}_single_dash_option_is_unknown" 2 "unknown option -x" -- "$verb" -x
    refuses "${verb}_stray_word_is_named" 2 "'stray'" "viaduct help $verb" -- "$verb" stray
done
accepts run_help_after_a_device_starts_nothing "Usage: viaduct run" -- run --vfio host=sim:nvme --help
refuses no_verb_is_an_error 2 "allowed are list, run, serve, stats, doctor" --
refuses unknown_verb_is_named 2 "unknown verb 'fly'" "allowed are list" -- fly
refuses unknown_global_option_is_named 2 "unknown option '--fly'" "--version" -- --fly
refuses help_of_unknown_verb_is_named 2 "unknown verb 'fly'" -- help fly
refuses option_is_never_abbreviated 2 "unknown option --mem" -- run --mem 1G
refuses option_without_value_is_named 2 "--vfio needs a value" "host=" -- run --vfio
refuses flag_with_value_is_named 2 "--json takes no value" "'yes'" -- list --json=yes

vfio() { # NAME TEXT... -- VALUE: a wrong --vfio of run
    name=$1
    shift
    set -- "$name" 2 "$@"
    refuses "$@"
}
vfio vfio_without_host_is_refused "--vfio dma=auto" "no host=" "viaduct list" -- run --vfio dma=auto
vfio vfio_empty_host_is_refused "'host' has no value" -- run --vfio host=
vfio vfio_empty_text_is_refused "unknown key ''" "allowed are host" -- run --vfio ''
vfio vfio_duplicate_port_key_is_refused "key 'port' is given twice" "'a' and 'b'" -- \
    run --vfio host=sim:nvme,port=a,port=b
vfio vfio_duplicate_host_is_refused "key 'host' is given twice" -- run --vfio host=sim:nvme,host=sim:edu
vfio vfio_duplicate_dma_is_refused "key 'dma' is given twice" -- run --vfio host=sim:nvme,dma=auto,dma=auto
vfio vfio_key_before_host_is_refused "unknown key 'image'" "after host=" -- run --vfio image=/x,host=sim:nvme
vfio vfio_unknown_key_of_a_real_device_is_refused "unknown key 'prot'" "allowed are host, port, iommu, dma" -- \
    run --vfio host=0000:01:00.0,prot=a
vfio vfio_unknown_dma_is_refused "dma=magic" "auto, identity, offset, pool and paravirt" -- \
    run --vfio host=sim:nvme,dma=magic
vfio vfio_bad_port_is_refused "port=1a is not a name" "a letter" -- run --vfio host=sim:nvme,port=1a
vfio vfio_socket_in_run_is_refused "key 'socket' is not allowed here" "viaduct serve" -- \
    run --vfio host=sim:nvme,socket=/x
vfio vfio_empty_rom_is_refused "key 'rom' has no value" "rom=FILE, rom=off, rom=on" -- \
    run --vfio host=sim:edu,rom=
vfio vfio_duplicate_rom_is_refused "key 'rom' is given twice" "'on' and 'off'" -- \
    run --vfio host=sim:edu,rom=on,rom=off
vfio vfio_dextd_of_a_simulated_device_is_refused "dextd=/x" "host=apple:BB:DD.F" -- \
    run --vfio host=sim:nvme,dextd=/x
vfio vfio_dextd_of_a_linux_device_is_refused "dextd=/x" "leave it out" -- run --vfio dextd=/x,host=0000:01:00.0
vfio vfio_empty_dextd_is_refused "key 'dextd' has no value" "dextd=PATH" -- run --vfio host=apple:01:00.0,dextd=
vfio vfio_socket_of_an_apple_device_in_run_is_refused "the extension's socket is dextd=" -- \
    run --vfio host=apple:01:00.0,socket=/x
vfio vfio_unknown_key_of_an_apple_device_is_refused "unknown key 'image'" "dextd" -- \
    run --vfio host=apple:01:00.0,image=/x
for place in 1:0.0 01:00 01:20.0 01:00.8 01:00.0x 0000:01:00.0 zz:00.0; do
    vfio "vfio_guest_${place}_is_refused" "guest=$place is not where" "BB:DD.F" -- \
        run --vfio "host=sim:nvme,iommu=assigned,guest=$place"
done
vfio vfio_guest_of_a_served_device_is_checked "guest=1 is not where" -- serve --vfio host=sim:nvme,socket=/x,guest=1
for size in 0 -1 1X 1.5G 0x10 17179869184G M; do
    vfio "vfio_dma_bytes_${size}_is_refused" "dma-bytes=$size is not a size" "K, M, G or T" -- \
        run --vfio "host=sim:nvme,dma-bytes=$size"
done
vfio vfio_dma_mappings_zero_is_refused "dma-mappings=0 is not a number of mappings" -- \
    run --vfio host=sim:nvme,dma-mappings=0
vfio vfio_dma_mappings_with_a_unit_is_refused "dma-mappings=1K is not a number of mappings" -- \
    serve --vfio host=sim:nvme,socket=/x,dma-mappings=1K
vfio vfio_empty_dma_bytes_is_refused "key 'dma-bytes' has no value" "dma-bytes=SIZE" -- \
    run --vfio host=sim:nvme,dma-bytes=
vfio vfio_companion_in_run_is_refused "key 'companion' is not allowed here" "viaduct serve" -- \
    run --vfio host=sim:nvme,companion=/x
vfio vfio_unknown_iommu_id_is_refused "no --iommu id=io1" "add it" -- \
    run --iommu id=io0 --vfio host=0000:01:00.0,iommu=io1
vfio vfio_same_port_twice_is_refused "port=a is given to two devices" -- \
    run --vfio host=sim:nvme,port=a --vfio host=sim:edu,port=a
refuses iommu_same_id_twice_is_refused 2 "--iommu id=a" "given twice" -- run --iommu id=a --iommu id=a
refuses iommu_without_id_is_refused 2 "--iommu a" "id=<id>" -- run --iommu a
refuses run_without_device_is_refused 2 "needs a device" "--vfio host=" -- run
refuses memory_with_bad_unit_is_refused 2 "--memory 4X" "M, G or T" -- run --vfio host=sim:nvme --memory 4X
refuses memory_too_small_is_refused 2 "--memory 1M" "16M" -- run --vfio host=sim:nvme --memory 1M
refuses memory_overflow_is_refused 2 "--memory 99999999999999999999T" -- \
    run --vfio host=sim:nvme --memory 99999999999999999999T
refuses cpus_zero_is_refused 2 "--cpus 0" "1 to 255" -- run --vfio host=sim:nvme --cpus 0
refuses cpus_negative_is_refused 2 "--cpus -3" -- run --vfio host=sim:nvme --cpus=-3
refuses unknown_arch_is_refused 2 "--arch sparc" "x86_64, aarch64" -- run --vfio host=sim:nvme --arch sparc
refuses unknown_accel_is_refused 2 "--accel warp" "auto, kvm, hvf, tcg" -- run --vfio host=sim:nvme --accel warp
refuses kernel_and_disk_are_refused 2 "--disk d" "--kernel" -- run --vfio host=sim:nvme --kernel k --disk d
refuses initrd_without_kernel_is_refused 2 "--initrd i" "needs --kernel" -- run --vfio host=sim:nvme --initrd i
refuses append_without_kernel_is_refused 2 "--append" "needs --kernel" -- run --vfio host=sim:nvme --append quiet

long=$scratch/$(printf '%0100d' 0)
refuses serve_without_device_is_refused 2 "needs a device" "socket=" -- serve
refuses serve_without_socket_is_refused 2 "no socket=" -- serve --vfio host=sim:nvme
refuses serve_port_is_refused 2 "key 'port' is not allowed here" "viaduct run" -- \
    serve --vfio host=sim:nvme,socket=/x,port=a
refuses serve_same_socket_twice_is_refused 2 "socket=/x/s" "two devices" -- \
    serve --vfio host=sim:nvme,socket=/x/s --vfio host=sim:edu,socket=/x/s
refuses serve_socket_path_too_long_is_refused 2 "socket=$long" "may have 107" "shorter" -- \
    serve --vfio "host=sim:nvme,socket=$long"
refuses serve_companion_path_too_long_is_refused 2 "companion=$long" "may have 107" "shorter" -- \
    serve --vfio "host=sim:nvme,socket=/x,companion=$long"
refuses serve_ready_fd_not_open_is_refused 2 "--ready-fd 77" -- \
    serve --vfio host=sim:nvme,socket=/x --ready-fd 77
refuses stats_watch_zero_is_refused 2 "--watch 0" "1 to 86400" -- stats --watch 0
refuses stats_nobody_running_is_told 1 "no server is running" "viaduct serve" -- stats
refuses stats_unknown_server_is_named 1 "--server 4194303" -- stats --server 4194303
refuses doctor_device_that_is_no_address_is_refused 2 "--device pigeon:1: " "allowed are sim:nvme" -- \
    doctor --device pigeon:1
refuses doctor_device_with_a_bad_option_is_refused 2 "--device sim:nvme,prot=a: " "'prot'" -- \
    doctor --device sim:nvme,prot=a
fact doctor_prints_nothing_for_a_bad_device test ! -s "$scratch/out"
refuses doctor_unknown_arch_is_refused 2 "--arch sparc" -- doctor --arch sparc
finish
