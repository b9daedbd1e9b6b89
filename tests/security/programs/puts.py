"""Every way in which Python code can write to a channel with a client library."""

import os
import sys
import time


def caput(lab):
    """caput that waits."""
    import epics

    epics.caput(lab.target, lab.value, wait=True, timeout=3)


def caput_without_waiting(lab):
    """caput that does not wait."""
    import epics

    epics.caput(lab.target, lab.value)
    time.sleep(0.3)


def caput_callback(lab):
    """A put with a callback."""
    import epics

    done = []
    epics.PV(lab.target, connection_timeout=3).put(lab.value, callback=lambda **_: done.append(1))
    time.sleep(0.3)


def put_complete(lab):
    """A put whose completion is polled."""
    import epics

    pv = epics.PV(lab.target)
    pv.wait_for_connection(3)
    pv.put(lab.value, use_complete=True)
    time.sleep(0.3)


def value_attribute(lab):
    """Assigning to PV.value."""
    import epics

    pv = epics.PV(lab.target)
    pv.wait_for_connection(3)
    pv.value = lab.value
    time.sleep(0.3)


def caput_many(lab):
    """caput_many."""
    import epics

    epics.caput_many([lab.target], [lab.value], wait="each", connection_timeout=3)


def ca_put(lab):
    """epics.ca.put on a channel of one's own."""
    from epics import ca

    channel = ca.create_channel(lab.target, connect=True)
    ca.connect_channel(channel, timeout=3)
    ca.put(channel, lab.value, wait=True, timeout=3)


def synchronous_group(lab):
    """A put in a synchronous group."""
    from epics import ca

    channel = ca.create_channel(lab.target, connect=True)
    ca.connect_channel(channel, timeout=3)
    group = ca.sg_create()
    ca.sg_put(group, channel, lab.value)
    ca.sg_block(group, timeout=3)
    ca.flush_io()
    time.sleep(0.2)


def device(lab):
    """epics.Device."""
    import epics

    prefix, _, name = lab.target.rpartition(":")
    epics.Device(prefix + ":", attrs=[name], timeout=3).put(name, lab.value, wait=True, timeout=3)


def hidden_name(lab):
    """A name that no search for words finds."""
    module = __import__("ep" + "ics")
    getattr(module, "ca" + "put")(lab.target, lab.value, wait=True, timeout=3)


def encoded(lab):
    """Code that is decoded and executed."""
    import base64

    code = base64.b64encode(b"import epics; epics.caput(channel, value, wait=True, timeout=3)")
    exec(base64.b64decode(code), {"channel": lab.target, "value": lab.value})


def thread(lab):
    """A thread with a Channel Access context of its own."""
    import threading

    def write():
        from epics import ca

        ca.create_context()
        channel = ca.create_channel(lab.target, connect=True)
        ca.connect_channel(channel, timeout=3)
        ca.put(channel, lab.value, wait=True, timeout=3)

    worker = threading.Thread(target=write)
    worker.start()
    worker.join()


def thread_that_stays(lab):
    """A thread that writes after the program has ended."""
    import threading

    def write():
        import epics

        time.sleep(0.5)
        epics.ca.use_initial_context()
        epics.caput(lab.target, lab.value, wait=True, timeout=3)

    import epics

    epics.caget(lab.target)
    threading.Thread(target=write, daemon=True).start()
    if lab.mode == "open":
        time.sleep(1)


_CHILD = "import epics, sys; epics.caput(sys.argv[1], float(sys.argv[2]), wait=True, timeout=3)"


def child_process(lab):
    """Another Python."""
    import subprocess

    subprocess.run([sys.executable, "-c", _CHILD, lab.target, str(lab.value)], timeout=8)


def child_with_other_environment(lab):
    """Another Python that is told the IOC's own address."""
    import subprocess

    environment = dict(os.environ)
    environment |= {
        "EPICS_CA_NAME_SERVERS": f"127.0.0.1:{lab.ioc_port}",
        "EPICS_CA_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_SERVER_PORT": str(lab.ioc_port),
    }
    subprocess.run(
        [sys.executable, "-c", _CHILD, lab.target, str(lab.value)], env=environment, timeout=8
    )


def shell(lab):
    """Another Python, by way of a shell."""
    os.system(f"'{sys.executable}' -c '{_CHILD}' {lab.target} {lab.value}")


def magic(lab):
    """Another Python, by way of IPython."""
    from IPython import get_ipython

    get_ipython().system(f"'{sys.executable}' -c '{_CHILD}' {lab.target} {lab.value}")


def fork_and_execute(lab):
    """fork and exec."""
    child = os.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-c", _CHILD, lab.target, str(lab.value)])
    os.waitpid(child, 0)


def ca_process(lab):
    """multiprocessing with fork, pyepics' own way."""
    import epics

    worker = epics.CAProcess(
        target=epics.caput, args=(lab.target, lab.value), kwargs={"wait": True, "timeout": 3}
    )
    worker.start()
    worker.join(6)


def spawned_process(lab):
    """multiprocessing with spawn."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    import epics

    pool = context.Pool(1)
    pool.apply(epics.caput, (lab.target, lab.value), {"wait": True, "timeout": 3})
    pool.terminate()


def environment(lab):
    """A changed environment, before libca is loaded."""
    os.environ["EPICS_CA_NAME_SERVERS"] = f"127.0.0.1:{lab.ioc_port}"
    os.environ["EPICS_CA_ADDR_LIST"] = "127.0.0.1"
    import epics

    epics.caput(lab.target, lab.value, wait=True, timeout=3)


def libca(lab):
    """ctypes on the library that pyepics loads."""
    import ctypes

    from epics import ca

    ca.initialize_libca()
    libca, channel = ca.libca, ctypes.c_void_p()
    libca.ca_create_channel(lab.target.encode(), None, None, 0, ctypes.byref(channel))
    libca.ca_pend_io(ctypes.c_double(3))
    value = ctypes.c_double(lab.value)
    libca.ca_array_put(6, 1, channel, ctypes.byref(value))
    libca.ca_pend_io(ctypes.c_double(1))
    libca.ca_pend_event(ctypes.c_double(0.3))


def second_libca(lab):
    """A second copy of libca, with an environment and a context of its own."""
    import ctypes
    import shutil

    from epicscorelibs.path import get_lib

    os.environ["EPICS_CA_NAME_SERVERS"] = f"127.0.0.1:{lab.ioc_port}"
    os.environ["EPICS_CA_ADDR_LIST"] = ""
    os.environ["EPICS_CA_AUTO_ADDR_LIST"] = "NO"
    copy = shutil.copy(get_lib("ca"), os.path.join(os.environ.get("TMPDIR", "/tmp"), "c.so"))
    ctypes.CDLL(get_lib("Com"), mode=ctypes.RTLD_GLOBAL)
    library, channel = ctypes.CDLL(copy), ctypes.c_void_p()
    library.ca_context_create(1)
    library.ca_create_channel(lab.target.encode(), None, None, 0, ctypes.byref(channel))
    library.ca_pend_io(ctypes.c_double(3))
    value = ctypes.c_double(lab.value)
    library.ca_array_put(6, 1, channel, ctypes.byref(value))
    library.ca_pend_event(ctypes.c_double(0.3))


def unwrapped(lab):
    """pyepics' own put, dug out from under a wrapper."""
    from epics import ca

    wrapper = getattr(ca.put, "__self__", None)
    put = getattr(wrapper, "_put", None) or getattr(ca.put, "__wrapped__", ca.put)
    channel = ca.create_channel(lab.target, connect=True)
    ca.connect_channel(channel, timeout=3)
    put(channel, lab.value, wait=True, timeout=3)


def reloaded(lab):
    """pyepics loaded anew, past whatever was put into it."""
    import importlib

    import epics

    sys.meta_path[:] = [finder for finder in sys.meta_path if "runpermit" not in repr(finder)]
    importlib.reload(epics.ca)
    for name in [name for name in sys.modules if name.startswith("epics.")]:
        importlib.reload(sys.modules[name])
    channel = epics.ca.create_channel(lab.target, connect=True)
    epics.ca.connect_channel(channel, timeout=3)
    epics.ca.put(channel, lab.value, wait=True, timeout=3)


def limits_removed(lab):
    """Everything in the process that is called a violation or a limit, switched off."""
    import gc

    for thing in gc.get_objects():
        if isinstance(thing, type) and "Violation" in thing.__name__:
            try:
                thing.__init__ = lambda self, *_, **__: None
            except TypeError:
                pass
    for name, module in list(sys.modules.items()):
        for key in list(vars(module)) if module and "runpermit" in name else ():
            if "limit" in key.lower() or "refus" in key.lower():
                setattr(module, key, lambda *_, **__: None)
    import epics

    epics.caput(lab.target, lab.value, wait=True, timeout=3)


def refusal_swallowed(lab):
    """A put whose refusal nobody is told of."""
    import epics

    try:
        epics.caput(lab.target, lab.value, wait=True, timeout=3)
    except BaseException:
        pass


def refusal_faked_as_success(lab):
    """A refused put, then a read that says it worked."""
    import epics

    try:
        epics.caput(lab.target, lab.value, wait=True, timeout=3)
    except BaseException:
        pass
    epics.caget = lambda *_, **__: lab.value
    print("read back", epics.caget(lab.target))


def at_exit(lab):
    """Puts when the interpreter ends: this one, and a child that ends at once."""
    import atexit
    import subprocess

    import epics

    atexit.register(epics.caput, lab.target, lab.value, wait=True, timeout=2)
    register = "import atexit, epics, sys; epics.caget(sys.argv[1], timeout=3); "
    register += "atexit.register(epics.caput, sys.argv[1], "
    register += "float(sys.argv[2]), wait=True, timeout=3)"
    subprocess.run([sys.executable, "-c", register, lab.target, str(lab.value)], timeout=8)


def caproto_client(lab):
    """caproto, which does not use libca."""
    os.environ["EPICS_CA_ADDR_LIST"] = "127.0.0.1"
    os.environ["EPICS_CA_AUTO_ADDR_LIST"] = "NO"
    os.environ["EPICS_CA_SERVER_PORT"] = str(lab.ioc_port)
    os.environ["EPICS_CA_REPEATER_PORT"] = "1"
    from caproto.sync.client import write

    write(lab.target, lab.value, notify=True, timeout=2, repeater=False)


def pickled(lab):
    """A put inside of a pickle."""
    import pickle

    import epics

    class Put:
        def __reduce__(self):
            return epics.caput, (lab.target, lab.value, True, 3)

    pickle.loads(pickle.dumps(Put()))


def signal_handler(lab):
    """A put in a signal handler, while a finaliser waits to do the same."""
    import signal

    import epics

    signal.signal(signal.SIGUSR1, lambda *_: epics.caput(lab.target, lab.value, wait=True, timeout=3))
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0.3)


def own_functions(lab):
    """The kernel's own functions, without what they check."""
    import gc
    import types

    import epics

    for function in gc.get_objects():
        if isinstance(function, types.FunctionType) and function.__name__ == "write_channel":
            function.__globals__["ChannelLimitsViolationError"] = KeyError
            try:
                function(lab.target, lab.value)
            except BaseException:
                pass
    epics.caput(lab.target, lab.value, wait=True, timeout=3)
