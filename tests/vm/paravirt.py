# SPDX-License-Identifier: BSD-3-Clause
"""Strategy paravirt in whole virtual machines: the host picks the bus addresses, the guest has viaduct_dma.

The names are facts, as in cases.py. Each guest also looks through its kernel's log for reports (lib_dma.sh).
"""

import json
import os
import subprocess

from cases import case, check_disk
from harness import MIB, Broken, Guest, Program, Run, Server, await_true, sha

# What a Mac's IOMMU is like, and one so small that windows go all the time.
ASSIGNED = 'iommu=assigned'
SMALL = 'iommu=assigned,aperture=64M,mappings=512'


class Daemon(Program):
    """viaduct-dextd: the way through a Mac's extension, with one device at 01:00.0."""

    def __init__(self, case_, device):
        self.program = os.path.join(os.path.dirname(case_.setting.viaduct), '../dext/host/viaduct-dextd')
        self.case = case_
        super().__init__(case_, 'dextd', [self.program, '--verbose', '--device', f'01:00.0={device}'])
        await_true('viaduct-dextd is ready', self.is_ready)

    def is_ready(self):
        if not self.alive():
            raise Broken(f'viaduct-dextd ended: {self.log()}')
        return 'listening on' in self.log()

    def ask(self, *words):
        return subprocess.run([self.program, *words], env=self.case.environment(), capture_output=True, text=True,
                              timeout=20, stdin=subprocess.DEVNULL, check=True).stdout

    def device(self):
        return json.loads(self.ask('list', '--json'))['devices'][0]


class Companions(Server):
    """`viaduct serve` with a companion for each device; they are where the guest below has them."""

    def __init__(self, case_, hosts, **options):
        super().__init__(case_, [f'{host},guest=0{i + 1}:00.0' for i, host in enumerate(hosts)], **options)
        self.companions = [f'{path}.companion' for path in self.sockets]


def split(endpoints):
    """Devices and companions."""
    return ([e for e in endpoints if not e.get('companion')], [e for e in endpoints if e.get('companion')])


def check_endpoints(t, endpoints, refused=0):
    """While a guest works."""
    devices, companions = split(endpoints)
    t.same('each device has a companion', len(devices), len(companions))
    for device in devices:
        t.same('the simulated IOMMU refused no access', 0, device['faults'] or 0)
        t.same('the strategy is paravirt', 'paravirt', device['strategy'])
        t.fact('only a part of the memory is mapped', 0 < device['dma']['bytes'] < 512 * MIB, device['dma'])
    for endpoint in companions:
        did = endpoint['companion']
        t.fact('the guest uses the companion', did['active'] and did['wide'] and did['doorbells'], did)
        t.fact('the companion refused no more than it had to', did['refused'] <= refused, did)
        t.same('no mapping was lost', 0, did['lost'])


def check_released(t, what, endpoints):
    for endpoint in endpoints:
        t.same(f'{what}: nothing is mapped for {endpoint["address"].split(",")[0]}', (0, 0),
               (endpoint['dma']['bytes'], endpoint['dma']['mappings']) if not endpoint.get('companion') else
               (endpoint['companion']['bytes'], endpoint['companion']['mappings']))
        t.same('the simulated IOMMU refused no access', 0, endpoint['faults'] or 0)
        t.same('no session was closed for a violation', 0, endpoint['violations'])


def paravirt_guest(case_, server, test, kernel='6.12', **options):
    return Guest(case_, server.sockets, test, kernel, companions=server.companions, **options)


@case
def debian_6_12_drives_a_disk_behind_an_extension(t):
    path, content = t.image('disk.img', 32)
    daemon = Daemon(t, f'sim:nvme,image={path}')
    run = Run(t, ['apple:01:00.0'], 'paravirt', '6.12', 'viaduct.irq=msix')
    run.console.step('measured')
    check_endpoints(t, t.stats(run.program.process.pid))
    run.console.tell()
    t.same('viaduct run ends well when the guest powers off', 0, run.finish('paravirt'))
    check_disk(t, run, path, content)
    t.same('nothing was refused in the guest', '0', run.console.data.get('dma_failed'))
    data = run.console.data
    t.fact('most requests found a window', int(data['dma_hits']) * 10 > int(data['dma_maps']) * 8, data)
    device = await_true('the extension is free', lambda: [d for d in [daemon.device()] if d['state'] == 'free'])[0]
    t.same('the extension has nothing mapped', (0, 0), (device['bytes'], device['mappings']))
    t.same('the simulated IOMMU refused no access', 0, device['faults'])
    t.same('the daemon ends when asked', 0, daemon.stop())


@case
def debian_6_1_drives_a_disk_that_unmaps_at_once(t):
    path, content = t.image('disk.img', 32)
    run = Run(t, [f'sim:nvme,image={path},{ASSIGNED}'], 'paravirt', '6.1',
              'viaduct.irq=msix viaduct.dma_parameters=strict=1')
    run.console.step('measured')
    check_endpoints(t, t.stats(run.program.process.pid))
    run.console.tell()
    t.same('viaduct run ends well when the guest powers off', 0, run.finish('paravirt'))
    check_disk(t, run, path, content)
    t.same('nothing was refused in the guest', '0', run.console.data.get('dma_failed'))
    t.fact('with strict=1 doorbells keep pace with requests', int(run.console.data['dma_doorbells']) > 1000,
           run.console.data)


@case
def an_arm64_guest_drives_a_disk_behind_an_extension(t):
    path, content = t.image('disk.img', 32)
    Daemon(t, f'sim:nvme,image={path}')
    run = Run(t, ['apple:01:00.0'], 'paravirt', 'arm64')
    run.console.step('measured', 240)
    check_endpoints(t, t.stats(run.program.process.pid))
    run.console.tell()
    t.same('viaduct run ends well when the guest powers off', 0, run.finish('paravirt'))
    check_disk(t, run, path, content)
    t.same('nothing was refused in the guest', '0', run.console.data.get('dma_failed'))


@case
def a_small_aperture_serves_more_memory_than_it_holds(t):
    server = Companions(t, [f'sim:nvme,size=256M,{SMALL}'])
    guest = paravirt_guest(t, server, 'churn')
    guest.console.step('measured', 400)
    check_endpoints(t, server.endpoints(), refused=1 << 30)
    guest.console.tell()
    guest.finish('churn')
    data = {key: int(value) for key, value in guest.console.data.items() if value.isdigit()}
    t.fact('1.5 GiB went through', data['churn_mib'] >= 1500, data)
    t.fact('windows were evicted all the time', data['dma_evicted'] > 500, data)
    t.fact('the host never had more mapped than it can', data['dma_peak_bytes'] <= 64 * MIB
           and data['dma_peak_mappings'] <= 512, data)
    t.same('nothing was refused in the guest', 0, data['dma_failed'])
    await_true('the guest is gone', lambda: not any(e['client'] for e in server.endpoints()))
    check_released(t, 'at the end', server.endpoints())


def lifecycle(t, kernel, arguments=''):
    path, content = t.image('disk.img', 32)
    server = Companions(t, [f'sim:nvme,image={path},{ASSIGNED}'])
    guest = paravirt_guest(t, server, 'lifecycle', kernel, arguments=f'viaduct.dma=no {arguments}')
    guest.console.step('unloaded', 300)
    check_released(t, 'without the module', server.endpoints())
    guest.console.tell()
    guest.finish('lifecycle', 300)
    t.same('the guest reads the content of the image', sha(content), guest.console.data.get('read'))
    t.same('what the guest did not write is unchanged', guest.console.data.get('after'),
           sha(content[16 * MIB:32 * MIB]))
    t.same('no request failed', '0', guest.console.data.get('dma_failed'))
    await_true('the guest is gone', lambda: not any(e['client'] for e in server.endpoints()))
    check_released(t, 'at the end', server.endpoints())
    t.same('the server stops when asked', 0, server.stop())
    return guest


@case
def drivers_and_the_module_come_and_go_in_debian_6_12(t):
    lifecycle(t, '6.12')


def devices(t, kernel, patience=300, arguments=''):
    path, content = t.image('disk.img', 32)
    server = Companions(t, [f'sim:edu,{ASSIGNED}', f'sim:nvme,image={path},{ASSIGNED}'])
    guest = paravirt_guest(t, server, 'devices', kernel, arguments=f'viaduct.dma=no {arguments}')
    guest.console.step('held', patience)
    held = split(server.endpoints())[1][0]
    t.same('the host counts what a version 2 driver has mapped', int(guest.console.data.get('rfc_held', '-1')),
           held['companion']['mappings'])
    t.fact('and sees that it speaks version 2', held['companion']['active'] and not held['companion']['wide'], held)
    guest.console.tell()
    if 'rounds=0' not in arguments:
        guest.console.step('hostile', patience)
        t.fact('the server is alive after garbage', server.alive(), server.log())
        check_released(t, 'after garbage and a reset', server.endpoints())
        guest.console.tell()
    guest.console.step('measured', patience)
    devices_, companions = split(server.endpoints())
    t.same('the simulated IOMMU refused no access', [0, 0], [e['faults'] for e in devices_])
    t.fact('both companions are in use', all(e['companion']['wide'] for e in companions), companions)
    guest.console.tell()
    guest.console.step('unloaded', patience)
    check_released(t, 'without the module', server.endpoints())
    guest.console.tell()
    guest.finish('devices', patience)
    t.same('the guest reads the content of the image', sha(content), guest.console.data.get('read'))
    t.same('what the guest wrote and flushed is in the image', guest.console.data.get('written'),
           sha(t.region(path, 28, 2)))
    t.same('no request failed', '0', guest.console.data.get('dma_failed'))
    await_true('the guest is gone', lambda: not any(e['client'] for e in server.endpoints()))
    check_released(t, 'at the end', server.endpoints())
    t.same('the server stops when asked', 0, server.stop())


@case
def version_2_garbage_and_the_whole_dma_api_in_debian_6_1(t):
    devices(t, '6.1')


@case
def version_2_garbage_and_the_whole_dma_api_in_debian_6_12(t):
    devices(t, '6.12', arguments='viaduct.seed=12')


@case
def version_2_garbage_and_the_whole_dma_api_in_the_newest_kernel(t):
    devices(t, 'newest', arguments='viaduct.seed=72')


@case
def version_2_garbage_and_the_whole_dma_api_in_the_debug_kernel(t):
    devices(t, 'debug', 240, 'viaduct.seed=99 viaduct.rounds=1000 viaduct.seconds=4')


@case
def a_guest_with_hardly_any_memory_left_goes_on(t):
    server = Companions(t, [f'sim:nvme,size=128M,{ASSIGNED}'])
    guest = paravirt_guest(t, server, 'pressure', '6.1', memory=320)
    guest.finish('pressure')
    t.same('no request failed', '0', guest.console.data.get('dma_failed'))
    await_true('the guest is gone', lambda: not any(e['client'] for e in server.endpoints()))
    check_released(t, 'at the end', server.endpoints())


@case
def a_device_that_is_pulled_out_is_an_io_error_in_the_guest(t):
    path, _ = t.image('disk.img', 128)
    daemon = Daemon(t, f'sim:nvme,image={path}')
    server = Companions(t, ['apple:01:00.0'])
    guest = paravirt_guest(t, server, 'unplug', '6.12', arguments='viaduct.timeout=3')
    guest.console.step('flooding')
    written = server.endpoints()[0]['regions'][0]['writes']
    await_true('the guest writes', lambda: server.endpoints()[0]['regions'][0]['writes'] > written)
    daemon.ask('unplug', '01:00.0')
    guest.console.step('survived', 120)
    t.fact('the server is alive', server.alive(), server.log())
    guest.console.tell()
    guest.console.step('unloaded')
    t.same('nothing is mapped any more', 0, split(server.endpoints())[1][0]['companion']['mappings'])
    guest.console.tell()
    guest.finish('unplug')
    t.same('what the guest flushed is in the image', guest.console.data.get('flushed'), sha(t.region(path, 16, 4)))
    t.same('the server stops when asked', 0, server.stop())
    t.same('the daemon ends when asked', 0, daemon.stop())


@case
def a_guest_with_a_companion_reboots_and_its_disk_still_works(t):
    path, content = t.image('disk.img', 32)
    run = Run(t, [f'sim:nvme,image={path},{ASSIGNED}'], 'reboot_dma', '6.12', qemu=())
    here = run.console.step('rebooting')
    run.console.wait_line('@vd begin reboot_dma', 200, here)
    run.console.wait_line('@vd data reread', 200, here)
    check_endpoints(t, t.stats(run.program.process.pid))
    t.same('viaduct run outlives the reboot and ends well', 0, run.finish('reboot_dma'))
    data = run.console.data
    t.same('what was flushed before the reboot is read after it', data.get('written'), data.get('reread'))
    t.fact('and nothing else changed', t.region(path, 0, 1) == content[:MIB], 'the first MiB differs')


@case
def two_disks_with_a_companion_each_work_at_once(t):
    images = [t.image('one.img', 32, 1), t.image('two.img', 32, 2)]
    run = Run(t, [f'sim:nvme,image={image[0]},{ASSIGNED}' for image in images], 'two_dma', '6.1')
    run.console.step('measured')
    check_endpoints(t, t.stats(run.program.process.pid))
    run.console.tell()
    run.finish('two_dma')
    data = run.console.data
    t.same('the guest reads both images', {sha(images[0][1]), sha(images[1][1])},
           {data.get('read1'), data.get('read2')})
    first, second = (0, 1) if data.get('read1') == sha(images[0][1]) else (1, 0)
    t.same('the first one has what the guest wrote there', data.get('written1'), sha(t.region(images[first][0], 24, 2)))
    t.same('the second one has what the guest wrote there', data.get('written2'),
           sha(t.region(images[second][0], 26, 2)))


@case
def a_killed_guest_leaves_nothing_mapped_and_the_next_one_works(t):
    path, _ = t.image('disk.img', 128)
    server = Companions(t, [f'sim:nvme,image={path},{SMALL}'])
    first = paravirt_guest(t, server, 'flood', name='first')
    first.console.step('flooding')
    written = server.endpoints()[0]['regions'][0]['writes']
    await_true('the guest writes', lambda: server.endpoints()[0]['regions'][0]['writes'] > written)
    t.fact('the guest has memory mapped', split(server.endpoints())[1][0]['companion']['mappings'] > 0,
           server.endpoints())
    first.program.kill()
    gone = await_true('the server notices', lambda: [e for e in [server.endpoints()]
                                                     if not any(x['client'] for x in e)])[0]
    check_released(t, 'after the kill', gone)
    t.same('what the guest flushed is in the image', first.console.data.get('flushed'), sha(t.region(path, 16, 4)))
    second = paravirt_guest(t, server, 'after_dma', '6.1', name='second')
    t.same('the next guest runs to its end', 0, second.finish('after_dma'))
    t.same('the next guest reads what the killed one flushed', first.console.data.get('flushed'),
           second.console.data.get('reread'))
    t.same('the server stops when asked', 0, server.stop())
    left = [name for _, _, names in os.walk(t.runtime) for name in names if name.endswith(('.sock', '.companion'))]
    t.same('and removes its sockets', [], left)


@case
def private_guest_memory_is_refused_by_a_companion_with_the_remedy(t):
    path, content = t.image('disk.img', 32)
    server = Companions(t, [f'sim:nvme,image={path},{ASSIGNED}'])
    guest = paravirt_guest(t, server, 'refused', share='off')
    try:
        guest.finish('refused')
        told = guest.console.data.get('read')
    except Broken:
        # QEMU may as well end when it loses a device at that time.
        if not guest.console.ended:
            raise
        guest.program.wait()
        told = 'none'
    t.fact('the guest is not given wrong data', told in ('none', sha(content[:4 * MIB])), f'it read {told}')
    t.same('the image is unchanged', sha(content), sha(t.region(path, 0, 32)))
    refusals = [e['refusal'] for e in server.endpoints()]
    t.fact('a refusal names the remedy', any('share=on' in refusal for refusal in refusals), refusals)
    t.fact('the server is alive', server.alive(), server.log())
