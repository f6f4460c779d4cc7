# SPDX-License-Identifier: BSD-3-Clause
"""Guests, servers and what was found out, for the cases in cases.py.

Every wait is bounded and fails with a reason; every process is one this program started, known by its pid and ended
when its case ends; every file lies in the case's own folder, which stays for whoever reads a failure.
"""

import collections
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

MIB = 1 << 20
TOOLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../tools')
CANNOT = 77  # the exit code of a tool where this machine does not let it
BOOT_PATIENCE = 240  # seconds; an emulated guest on a busy machine
STEP_PATIENCE = 180


class Skip(Exception):
    """The machine cannot do this; the text says what is missing."""


class Broken(Exception):
    """The case cannot go on; the text says why."""


def sha(data):
    return hashlib.sha256(data).hexdigest()


def await_true(what, probe, patience=20.0):
    """Asks until the answer is true. The pause only spares the processor; nothing depends on its length."""
    end = time.monotonic() + patience
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Broken(f'{what}: not within {patience:.0f} s')
        time.sleep(0.05)


class Program:
    """A process with its output in a file."""

    def __init__(self, case, name, words, **options):
        self.name = name
        self.log_path = case.path(f'{name}.log')
        with open(self.log_path, 'ab') as log:
            log.write(('$ ' + ' '.join(words) + '\n').encode())
            log.flush()
            options.setdefault('stdout', log)
            options.setdefault('stdin', subprocess.DEVNULL)
            # A session of its own: ending it ends what it started.
            self.process = subprocess.Popen(words, stderr=log, env=case.environment(),
                                            start_new_session=True, **options)
        case.programs.append(self)

    def log(self):
        with open(self.log_path, errors='replace') as log:
            return log.read()

    def children(self):
        """The processes that this one started, as numbers."""
        found = []
        for pid in filter(str.isdigit, os.listdir('/proc')):
            with contextlib.suppress(OSError), open(f'/proc/{pid}/stat') as stat:
                # After the name, which may hold anything, come the state and the parent.
                if int(stat.read().rpartition(')')[2].split()[1]) == self.process.pid:
                    found.append(pid)
        return found

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        """As kill -9 does, the program alone."""
        self.process.kill()
        self.process.wait()

    def wait(self, patience=30.0):
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise Broken(f'{self.name} does not end within {patience:.0f} s') from None

    def stop(self, patience=10.0):
        """Asks it to end; its exit code."""
        if self.alive():
            self.process.terminate()
        return self.wait(patience)

    def clean_up(self):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.alive():
            self.process.wait()


class Console:
    """Reads a guest's serial console: keeps it all, takes the guest's facts, wakes who waits."""

    def __init__(self, case, name, reader, writer):
        self.case, self.name, self.writer = case, name, writer
        self.lines, self.data, self.ended = [], {}, False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.read, args=(reader,), daemon=True)
        self.thread.start()

    def read(self, reader):
        with open(self.case.path(f'{self.name}.console'), 'wb') as log:
            for raw in iter(reader.readline, b''):
                log.write(raw)
                log.flush()
                with self.changed:
                    self.take(raw.decode(errors='replace').strip())
                    self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def take(self, line):
        self.lines.append(line)
        found = re.search(r'@vd (\S+) (.*)', line)
        if not found:
            return
        kind, text = found.groups()
        if kind == 'ok':
            self.case.fact(text, True)
        elif kind == 'not-ok':
            fact, _, why = text.partition(': ')
            self.case.fact(fact, False, why)
        elif kind == 'data':
            key, _, value = text.partition(' ')
            self.data[key] = value

    def wait_line(self, pattern, patience, since=0):
        """The position behind the first line from `since` that matches."""
        end = time.monotonic() + patience
        with self.changed:
            while True:
                for i in range(since, len(self.lines)):
                    if re.search(pattern, self.lines[i]):
                        return i + 1
                since = len(self.lines)
                left = end - time.monotonic()
                if self.ended or left <= 0:
                    last = ' / '.join(self.lines[-3:])
                    how = 'ended' if self.ended else f'said nothing such for {patience:.0f} s'
                    raise Broken(f'waiting for "{pattern}": the guest {how}; its last lines: {last}')
                self.changed.wait(left)

    def step(self, name, patience=STEP_PATIENCE):
        return self.wait_line(f'@vd step {name}$', patience)

    def tell(self, text='go'):
        self.writer.write((text + '\n').encode())
        self.writer.flush()


class Qmp:
    """QEMU's control socket, one command at a time."""

    def __init__(self, path, patience=10.0):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(patience)
        self.socket.connect(path)
        self.file = self.socket.makefile('rwb')
        self.file.readline()
        self.ask('qmp_capabilities')

    def ask(self, command, **arguments):
        self.file.write(json.dumps({'execute': command, 'arguments': arguments}).encode() + b'\n')
        self.file.flush()
        while True:
            line = self.file.readline()
            if not line:
                raise Broken(f'QEMU closed its control socket at {command}')
            answer = json.loads(line)
            if 'event' not in answer:
                return answer

    def close(self):
        self.file.close()
        self.socket.close()


class Server(Program):
    """`viaduct serve` on a socket per device, ready when this returns."""

    def __init__(self, case, hosts, prefix=(), name='server'):
        self.case = case
        self.sockets = [case.socket_path(f'{name}{i}.sock') for i in range(len(hosts))]
        words = list(prefix) + [case.setting.viaduct, 'serve', '--verbose']
        reader, writer = os.pipe()
        for host, path in zip(hosts, self.sockets):
            words += ['--vfio', f'host={host},socket={path}']
        words += ['--ready-fd', str(writer)]
        try:
            super().__init__(case, name, words, pass_fds=[writer])
            os.close(writer)
            writer = None
            os.set_blocking(reader, False)
            await_true('the server is ready', lambda: self.is_ready(reader))
        finally:
            os.close(reader)
            if writer is not None:
                os.close(writer)

    def is_ready(self, reader):
        try:
            said = os.read(reader, 1)
        except BlockingIOError:
            return False
        if not said:
            raise Broken(f'viaduct serve ended with {self.wait()}: {self.log().strip().splitlines()[-1]}')
        return True

    def endpoints(self):
        return self.case.stats(self.process.pid)


class Guest:
    """A QEMU of our own on a server's sockets, with control of everything."""

    def __init__(self, case, sockets, test, kernel='6.1', share='on', arguments='', reboots=False, name='guest', fio=True,
                 memory=512, companions=()):
        self.case = case
        self.qmp_path = case.socket_path(f'{name}.qmp')
        arch = KERNELS[kernel].arch
        words = [case.setting.qemu(arch), '-nodefaults', '-no-user-config', '-accel', 'tcg,thread=single',
                 '-cpu', CPUS[arch], '-smp', '2', '-m', f'{memory}M', '-display', 'none',
                 '-chardev', 'stdio,id=console,signal=off', '-serial', 'chardev:console',
                 '-qmp', f'unix:{self.qmp_path},server=on,wait=off']
        if share == 'none':
            words += ['-machine', MACHINES[arch]]
        else:
            words += ['-machine', f'{MACHINES[arch]},memory-backend=mem0',
                      '-object', f'memory-backend-memfd,id=mem0,size={memory}M,share={share}']
        words += case.setting.kernel_words(kernel, test, arguments, fio)
        if not reboots:
            words.append('-no-reboot')
        for i, path in enumerate(sockets):
            device = {'driver': 'vfio-user-pci', 'bus': f'port{i}', 'socket': {'type': 'unix', 'path': path}}
            words += ['-device', f'pcie-root-port,id=port{i},bus=pcie.0,chassis={i + 1},slot={i + 1}',
                      '-device', json.dumps(device)]
        # On the root bus, behind everything: the devices' buses stay what they are without.
        for path in companions:
            words += ['-device', json.dumps({'driver': 'vfio-user-pci', 'socket': {'type': 'unix', 'path': path}})]
        self.program = Program(case, name, words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.console = Console(case, name, self.program.process.stdout, self.program.process.stdin)
        case.guests.append(self)

    def finish(self, test, patience=BOOT_PATIENCE):
        self.console.wait_line(f'@vd end {test}$', patience)
        return self.program.wait()

    def diagnose(self):
        """A guest that hangs shows on its console who waits for what: magic SysRq, by a break on the line."""
        if not self.program.alive():
            return
        qmp = Qmp(self.qmp_path)
        try:
            for key in '8lwt':
                qmp.ask('chardev-send-break', id='console')
                self.console.tell(key)
                time.sleep(1)  # what comes is read by people
        finally:
            qmp.close()


class Run:
    """`viaduct run`, which starts its own QEMU."""

    def __init__(self, case, hosts, test, kernel='6.1', arguments='', qemu=('-no-reboot',), name='run', fio=True,
                 memory=512):
        arch = KERNELS[kernel].arch
        words = [case.setting.viaduct, 'run', '--accel', 'tcg', '--memory', str(memory), '--cpus', '1',
                 '--arch', arch, '--qemu', case.setting.qemu(arch)]
        if arch == 'aarch64':
            qemu = (*qemu, '-cpu', CPUS[arch])  # of two, QEMU takes the last
        for host in hosts:
            words += ['--vfio', f'host={host}']
        kernel_words = case.setting.kernel_words(kernel, test, arguments, fio)
        words += ['--kernel', kernel_words[1], '--initrd', kernel_words[3], '--append', kernel_words[5], '--', *qemu]
        self.program = Program(case, name, words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.console = Console(case, name, self.program.process.stdout, self.program.process.stdin)

    def finish(self, test, patience=BOOT_PATIENCE):
        self.console.wait_line(f'@vd end {test}$', patience)
        return self.program.wait()


Kernel = collections.namedtuple('Kernel', 'arch version console')
KERNELS = {
    '6.1': Kernel('x86_64', '6.1', 'ttyS0'),
    '6.12': Kernel('x86_64', '6.12', 'ttyS0'),
    'newest': Kernel('x86_64', 'newest', 'ttyS0'),
    'debug': Kernel('x86_64', 'debug', 'ttyS0'),
    'arm64': Kernel('aarch64', '6.12', 'ttyAMA0'),
}
# MSI through vfio-user needs the ITS; pointer authentication and SVE only cost time here.
MACHINES = {'x86_64': 'q35', 'aarch64': 'virt,gic-version=3,its=on'}
CPUS = {'x86_64': 'max', 'aarch64': 'max,pauth=off,sve=off'}


class Made(dict):
    """What is made when it is first asked for, once, by whichever thread asks first."""

    def __init__(self, make):
        super().__init__()
        self.make, self.lock, self.locks = make, threading.Lock(), collections.defaultdict(threading.Lock)

    def __missing__(self, key):
        with self.lock:
            own = self.locks[key]
        with own:
            if key not in self:
                self[key] = self.make(key)
            return self[key]


class Setting:
    """What all cases share: programs and the files guests boot. Nothing is fetched or built before it is needed."""

    def __init__(self, viaduct, folder):
        self.viaduct, self.folder = viaduct, folder
        self.qemus = Made(lambda arch: self.tool('qemu', '--arch', arch))
        self.vmlinuz = Made(lambda name: self.tool('kernel', '--headers', *self.choice(name)) + '/vmlinuz')
        self.initramfs = Made(lambda wanted: self.tool(
            'initramfs', '--arch', KERNELS[wanted[0]].arch, '--kernel', KERNELS[wanted[0]].version,
            *(['--fio'] if wanted[1] else [])))

    @staticmethod
    def choice(name):
        return '--arch', KERNELS[name].arch, KERNELS[name].version

    @staticmethod
    def tool(name, *words):
        """The last line of one of tools/, which says on stderr what it is at."""
        done = subprocess.run([os.path.join(TOOLS, name), *words], text=True, stdout=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, check=False)
        if done.returncode == CANNOT:
            raise Skip(f'this machine cannot prepare it: tools/{name} {" ".join(words)}')
        if done.returncode:
            raise Broken(f'tools/{name} {" ".join(words)} left with {done.returncode}')
        return done.stdout.strip()

    def qemu(self, arch='x86_64'):
        return self.qemus[arch]

    def prepare(self, name, fio=True):
        return self.qemu(KERNELS[name].arch), self.vmlinuz[name], self.initramfs[name, fio]

    def kernel_words(self, kernel, test, arguments, fio=True):
        _, vmlinuz, initramfs = self.prepare(kernel, fio)
        append = f'console={KERNELS[kernel].console} quiet panic=-1 viaduct.test={test} {arguments}'
        return ['-kernel', vmlinuz, '-initrd', initramfs, '-append', append.strip()]


class Case:
    """One run of one case: its folder, its processes, its facts."""

    def __init__(self, setting, name):
        self.setting, self.name = setting, name
        self.facts, self.programs, self.guests = [], [], []
        self.lock = threading.Lock()
        self.folder = os.path.join(setting.folder, name)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        # Socket addresses hold 107 characters: not below a folder of unknown depth.
        self.runtime = subprocess.run(['mktemp', '-d'], check=True, capture_output=True, text=True).stdout.strip()

    def path(self, name):
        return os.path.join(self.folder, name)

    def socket_path(self, name):
        return os.path.join(self.runtime, name)

    def environment(self):
        return {**os.environ, 'XDG_RUNTIME_DIR': self.runtime, 'VIADUCT_QEMU': self.setting.qemu(),
                'ASAN_OPTIONS': 'detect_leaks=1:abort_on_error=1', 'UBSAN_OPTIONS': 'halt_on_error=1'}

    def fact(self, text, good, why=''):
        with self.lock:
            self.facts.append((text, bool(good), str(why)))

    def same(self, text, wanted, seen):
        self.fact(text, wanted == seen, f'wanted {wanted}, saw {seen}')

    def image(self, name, mib, seed=1):
        """A disk image of seeded random bytes: its path and its content."""
        content = random.Random(seed).randbytes(mib * MIB)
        path = self.path(name)
        with open(path, 'wb') as image:
            image.write(content)
        return path, content

    def region(self, path, seek, count):
        with open(path, 'rb') as image:
            image.seek(seek * MIB)
            return image.read(count * MIB)

    def stats(self, pid):
        """The endpoints of the server with that pid."""
        done = subprocess.run([self.setting.viaduct, 'stats', '--json', '--server', str(pid)], env=self.environment(),
                              capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise Broken(f'viaduct stats left with {done.returncode}: {done.stderr.strip()}')
        with open(self.path('stats.json'), 'w') as out:
            out.write(done.stdout)
        return json.loads(done.stdout)['endpoints']

    def diagnose(self):
        """After a failure, before anything is ended: what guests and servers have to say, into the logs."""
        for guest in self.guests:
            with contextlib.suppress(OSError, ValueError, Broken):
                guest.diagnose()
        for program in self.programs:
            if isinstance(program, Server) and program.alive():
                with contextlib.suppress(OSError, Broken, subprocess.TimeoutExpired):
                    with open(self.path(f'{program.name}-stats.log'), 'w') as out:
                        json.dump(program.endpoints(), out, indent=1)

    def clean_up(self):
        for program in reversed(self.programs):
            program.clean_up()
        shutil.rmtree(self.runtime, ignore_errors=True)
        # Images are big and say little; the logs stay.
        for name in os.listdir(self.folder):
            if name.endswith('.img'):
                os.unlink(self.path(name))
