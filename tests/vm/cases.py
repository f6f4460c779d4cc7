# SPDX-License-Identifier: BSD-3-Clause
"""The cases: whole virtual machines on `viaduct run` and `viaduct serve`. A name is what holds when it passes.

tests/vm/guest/NAME.sh is the guest's half; its facts count like the ones stated here.
"""

import os
import shutil
import subprocess

from harness import MIB, Broken, Guest, Qmp, Run, Server, Skip, await_true, sha

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def check_stats(t, endpoints):
    """While a guest works: nothing was refused by the simulated IOMMU, guest memory is mapped and accounted."""
    for endpoint in endpoints:
        where = endpoint['address'].split(',')[0]
        t.same(f'{where}: the simulated IOMMU refused no access', 0, endpoint['faults'])
        t.fact(f'{where}: a client is attached', endpoint['client'], endpoint)
        t.fact(f'{where}: the guest memory is mapped', endpoint['dma']['bytes'] > 256 * MIB
               and endpoint['dma']['mappings'] > 0, endpoint['dma'])
        t.fact(f'{where}: interrupts were sent', any(sum(irq['vectors']) for irq in endpoint['irqs']),
               endpoint['irqs'])


def check_disk(t, machine, path, content):
    """The host's half of disk.sh."""
    data = machine.console.data
    t.same('the guest reads the content of the image', sha(content), data.get('read'))
    t.same('what the guest wrote and flushed is in the image', data.get('written'), sha(t.region(path, 28, 2)))
    t.fact('the image is unchanged where the guest did not write', t.region(path, 0, 8) == content[:8 * MIB],
           'the first 8 MiB differ')


def interrupts(t, kernel, irq, option, arguments=''):
    path, content = t.image('disk.img', 32)
    run = Run(t, [f'sim:nvme,image={path}{option}'], 'disk', kernel, f'viaduct.irq={irq} {arguments}')
    run.console.step('measured')
    check_stats(t, t.stats(run.program.process.pid))
    run.console.tell()
    t.same('viaduct run ends well when the guest powers off', 0, run.finish('disk'))
    check_disk(t, run, path, content)


@case
def debian_6_1_drives_a_disk_with_msix(t):
    interrupts(t, '6.1', 'msix', '')


@case
def debian_6_12_drives_a_disk_with_msix(t):
    interrupts(t, '6.12', 'msix', '')


@case
def debian_6_1_drives_a_disk_with_msi(t):
    interrupts(t, '6.1', 'msi', ',irq=msi')


@case
def debian_6_12_drives_a_disk_with_msi(t):
    interrupts(t, '6.12', 'msi', ',irq=msi')


@case
def debian_6_1_drives_a_disk_with_intx(t):
    interrupts(t, '6.1', 'intx', ',irq=intx')


@case
def debian_6_12_without_msi_drives_a_disk_with_intx(t):
    interrupts(t, '6.12', 'intx', '', 'pci=nomsi')


@case
def two_disks_work_at_once_one_with_4096_byte_sectors(t):
    images = [t.image('one.img', 32, 1), t.image('two.img', 32, 2)]
    hosts = [f'sim:nvme,image={images[0][0]}', f'sim:nvme,image={images[1][0]},sector=4096']
    run = Run(t, hosts, 'two')
    run.console.step('measured')
    endpoints = t.stats(run.program.process.pid)
    t.same('one server tells about both', 2, len(endpoints))
    check_stats(t, endpoints)
    run.console.tell()
    run.finish('two')
    data = run.console.data
    t.same('the guest reads both images', {sha(images[0][1]), sha(images[1][1])},
           {data.get('read1'), data.get('read2')})
    first, second = (0, 1) if data.get('read1') == sha(images[0][1]) else (1, 0)
    t.same('the guest sees each sector size', {first: '512', second: '4096'} if first == 0 else
           {first: '4096', second: '512'}, {first: data.get('sector1'), second: data.get('sector2')})
    t.same('the first one has what the guest wrote there', data.get('written1'),
           sha(t.region(images[first][0], 24, 2)))
    t.same('the second one has what the guest wrote there', data.get('written2'),
           sha(t.region(images[second][0], 26, 2)))
    t.fact('no write went astray', t.region(images[first][0], 26, 2) == images[first][1][26 * MIB:28 * MIB]
           and t.region(images[second][0], 24, 2) == images[second][1][24 * MIB:26 * MIB], 'a wrong disk changed')


@case
def a_guest_reboots_and_its_disk_still_works(t):
    path, content = t.image('disk.img', 32)
    run = Run(t, [f'sim:nvme,image={path}'], 'reboot', qemu=())
    here = run.console.step('rebooting')
    run.console.wait_line('@vd begin reboot', 120, here)
    t.same('viaduct run outlives the reboot and ends well', 0, run.finish('reboot'))
    data = run.console.data
    t.same('what was flushed before the reboot is read after it', data.get('written'), data.get('reread'))
    t.fact('and nothing else changed', t.region(path, 0, 1) == content[:MIB], 'the first MiB differs')


def resets(t, kernel):
    path, content = t.image('disk.img', 32)
    server = Server(t, [f'sim:nvme,image={path}'])
    guest = Guest(t, server.sockets, 'resets', kernel, arguments='viaduct.load=5')
    guest.console.wait_line('@vd end resets', 180)
    guest.program.wait()
    endpoint = server.endpoints()[0]
    t.same('the simulated IOMMU refused no access', 0, endpoint['faults'])
    t.same('no session was closed for a violation', 0, endpoint['violations'])
    t.same('what the guest did not write is unchanged', guest.console.data.get('after'),
           sha(content[16 * MIB:32 * MIB]))
    t.same('the server stops when asked', 0, server.stop())


@case
def debian_6_1_unbinds_binds_and_resets_under_load(t):
    resets(t, '6.1')


@case
def debian_6_12_unbinds_binds_and_resets_under_load(t):
    resets(t, '6.12')


@case
def a_server_outlives_a_killed_guest_and_serves_the_next(t):
    path, _ = t.image('disk.img', 32)
    server = Server(t, [f'sim:nvme,image={path}'])
    first = Guest(t, server.sockets, 'flood', name='first')
    first.console.step('flooding', 120)
    # In the middle of writing: some more than at the flush went through.
    written = server.endpoints()[0]['regions'][0]['writes']
    await_true('the guest writes', lambda: server.endpoints()[0]['regions'][0]['writes'] > written)
    first.program.kill()
    gone = await_true('the server notices', lambda: [e for e in server.endpoints() if not e['client']])[0]
    t.same('no mapping is left of the killed guest', (0, 0), (gone['dma']['bytes'], gone['dma']['mappings']))
    t.same('the simulated IOMMU refused no access', 0, gone['faults'])
    t.same('what the guest flushed is in the image', first.console.data.get('flushed'), sha(t.region(path, 16, 4)))
    second = Guest(t, server.sockets, 'after', '6.12', name='second')
    t.same('the next guest runs to its end', 0, second.finish('after'))
    t.same('the next guest reads what the killed one flushed', first.console.data.get('flushed'),
           second.console.data.get('reread'))
    t.same('the server has seen both', 2, server.endpoints()[0]['sessions'])
    t.same('the server stops when asked', 0, server.stop())
    t.fact('and removes its socket', not os.path.exists(server.sockets[0]), server.sockets[0])


def kill_a_server_in_use(t, path, attempt):
    """False when QEMU ended by an assertion of its own; whatever else goes wrong is raised."""
    server = Server(t, [f'sim:nvme,image={path}'], name=f'server-{attempt}-')
    guest = Guest(t, server.sockets, 'flood', arguments='viaduct.timeout=3', name=f'guest-{attempt}')
    guest.console.step('flooding', 120)
    written = server.endpoints()[0]['regions'][0]['writes']
    await_true('the guest writes', lambda: server.endpoints()[0]['regions'][0]['writes'] > written)
    server.kill()
    t.same('what the guest flushed is on the disk', guest.console.data.get('flushed'), sha(t.region(path, 16, 4)))
    try:
        qmp = Qmp(guest.qmp_path)
        t.same('QEMU still answers', True, qmp.ask('query-status').get('return', {}).get('running'))
        guest.console.step('survived', 120)
        t.same('QEMU still answers after the errors', True, qmp.ask('query-status').get('return', {}).get('running'))
        qmp.close()
    except (OSError, ValueError, Broken):
        # QEMU 11.1 reports a lost server twice into one error, now and then, and asserts that nobody does that.
        if 'error_setv: Assertion' in guest.program.log():
            return False
        raise
    again = Server(t, [f'sim:nvme,image={path}'], name=f'again-{attempt}-')
    t.fact('a new server starts on the same image', again.alive(), again.log())
    guest.console.tell()
    guest.finish('flood')
    return True


@case
def qemu_outlives_a_killed_server(t):
    path, _ = t.image('disk.img', 32)
    t.fact('QEMU survives that its server is killed',
           any(kill_a_server_in_use(t, path, attempt) for attempt in range(6)), 'its assertion ended it six times')


@case
def private_guest_memory_is_refused_with_the_remedy(t):
    path, content = t.image('disk.img', 32)
    server = Server(t, [f'sim:nvme,image={path}'])
    guest = Guest(t, server.sockets, 'refused', share='off')
    try:
        guest.finish('refused')
        told = guest.console.data.get('read')
    except Broken:
        # QEMU may as well end when it loses the device at that time: then nothing was read either.
        if not guest.console.ended:
            raise
        guest.program.wait()
        told = 'none'
    t.fact('the guest is not given wrong data', told in ('none', sha(content[:4 * MIB])), f'it read {told}')
    t.same('the image is unchanged', sha(content), sha(t.region(path, 0, 32)))
    refusal = server.endpoints()[0]['refusal']
    t.fact('the refusal names the remedy', 'share=on' in refusal, f'it says "{refusal}"')
    next_guest = Guest(t, server.sockets, 'after', name='shared')
    next_guest.finish('after')
    t.same('the server serves a guest with shared memory then', sha(content[16 * MIB:20 * MIB]),
           next_guest.console.data.get('reread'))


@case
def a_guest_without_memory_descriptors_works_by_messages(t):
    path, content = t.image('disk.img', 32)
    server = Server(t, [f'sim:nvme,image={path}'])
    guest = Guest(t, server.sockets, 'disk', share='none', arguments='viaduct.irq=msix')
    guest.console.step('measured', 150)
    t.same('the simulated IOMMU refused no access', 0, server.endpoints()[0]['faults'])
    guest.console.tell()
    guest.finish('disk')
    check_disk(t, guest, path, content)


def mount_prefix(mount, folder):
    """What gives a command a mount name space of its own, so that a file system is gone with the server."""
    if os.geteuid() == 0:
        # The second is for a chroot, whose root is no mount that could be made private.
        ways = [['unshare', '--mount'], ['unshare', '--mount', '--propagation', 'unchanged']]
    else:
        ways = [['unshare', '--user', '--map-root-user', '--mount']]
    for way in ways if shutil.which('unshare') else []:
        # Unmounted again: where mounts are shared, another name space may have got it too.
        script = f'{mount} && umount "$1"'
        if subprocess.run(way + ['sh', '-c', script, 'sh', folder], check=False, capture_output=True).returncode == 0:
            return way
    raise Skip('this machine lets nobody mount a tmpfs in a name space of its own')


@case
def a_full_host_disk_is_an_io_error_in_the_guest(t):
    folder = t.path('small')
    os.mkdir(folder)
    mount = 'mount -t tmpfs -o size=8m viaduct-test "$1"'
    prefix = mount_prefix(mount, folder)
    script = f'{mount} && truncate -s 32M "$1/disk.img" && shift && exec "$@"'
    server = Server(t, [f'sim:nvme,image={folder}/disk.img'], prefix=prefix + ['sh', '-c', script, 'sh', folder])
    guest = Guest(t, server.sockets, 'full')
    t.same('the guest runs to its end', 0, guest.finish('full'))
    t.fact('the server lives on', server.alive(), server.log())
    t.same('the simulated IOMMU refused no access', 0, server.endpoints()[0]['faults'])


@case
def ctrl_c_ends_a_run_and_leaves_nothing(t):
    path, _ = t.image('disk.img', 32)
    run = Run(t, [f'sim:nvme,image={path}'], 'flood')
    run.console.step('flooding', 120)
    children = run.program.children()
    t.fact('QEMU runs below viaduct', children, 'no child')
    run.program.process.send_signal(2)
    code = run.program.wait()
    t.fact('the run ends when asked', code in (0, 1), f'exit code {code}')
    t.same('QEMU is gone', [], [pid for pid in children if os.path.exists(f'/proc/{pid}')])
    left = [name for _, _, names in os.walk(t.runtime) for name in names]
    t.same('no socket is left', [], left)
    t.same('what the guest flushed is in the image', run.console.data.get('flushed'), sha(t.region(path, 16, 4)))


@case
def a_run_that_cannot_start_says_why(t):
    path, _ = t.image('odd.img', 1)
    with open(path, 'ab') as image:
        image.write(b'x')
    done = subprocess.run([t.setting.viaduct, 'run', '--vfio', f'host=sim:nvme,image={path}', '--kernel',
                           t.setting.vmlinuz['6.1']], env=t.environment(), capture_output=True, text=True,
                          timeout=30, stdin=subprocess.DEVNULL, check=False)
    t.fact('an image that is no multiple of the sector is refused', done.returncode in (1, 2), done)
    t.fact('and named', path in done.stderr, done.stderr)
    left = [name for _, _, names in os.walk(t.runtime) for name in names]
    t.same('no socket is left', [], left)


def boots(t, kernel, machine='x86_64', memory=512):
    guest = Guest(t, [], 'boots', kernel, fio=False, memory=memory)
    t.same('the guest runs to its end', 0, guest.finish('boots', 240))
    t.same('it is the machine that was meant', machine, guest.console.data.get('machine'))
    return guest.console.data.get('release') or ''


@case
def the_newest_kernel_of_debian_takes_the_modules(t):
    release = boots(t, 'newest')
    t.fact('it is newer than those of Debian 12', int(release.split('.')[0]) > 6, release)


@case
def the_debug_kernel_takes_the_modules(t):
    t.fact('it is the one that was built', boots(t, 'debug', memory=1024).endswith('-viaduct-debug'))


@case
def an_arm64_kernel_takes_the_modules(t):
    boots(t, 'arm64', 'aarch64')
