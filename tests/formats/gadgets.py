"""Pickles that would run code where they are loaded, each with the names that it would have to call."""

from __future__ import annotations

from tests.formats.torch_writer import call, integer, listing, mapping, name, tensor, text, tuple_of

COMMAND = text("echo run > gadget-ran")
CODE = text("open('gadget-ran', 'w').close()")
GOOD = tensor("0", (2,))

CALLS = {
    ("os", "system"): (COMMAND,),
    ("posix", "system"): (COMMAND,),
    ("nt", "system"): (COMMAND,),
    ("os", "popen"): (COMMAND,),
    ("os", "execv"): (text("/bin/sh"), listing(text("sh"), text("-c"), COMMAND)),
    ("os", "execlp"): (text("sh"), text("sh")),
    ("os", "spawnv"): (integer(0), text("/bin/sh"), listing(text("sh"))),
    ("os", "posix_spawn"): (text("/bin/sh"), listing(text("sh")), mapping({})),
    ("os", "fork"): (),
    ("os", "kill"): (integer(0), integer(9)),
    ("os", "remove"): (text("gadget-ran"),),
    ("os", "putenv"): (text("A"), text("b")),
    ("os", "open"): (text("gadget-ran"), integer(65)),
    ("subprocess", "Popen"): (COMMAND,),
    ("subprocess", "run"): (COMMAND,),
    ("subprocess", "call"): (listing(text("sh")),),
    ("subprocess", "check_output"): (listing(text("sh")),),
    ("subprocess", "getoutput"): (COMMAND,),
    ("builtins", "eval"): (CODE,),
    ("__builtin__", "eval"): (CODE,),
    ("builtins", "exec"): (CODE,),
    ("builtins", "compile"): (CODE, text("x"), text("exec")),
    ("builtins", "__import__"): (text("os"),),
    ("builtins", "open"): (text("gadget-ran"), text("w")),
    ("builtins", "getattr"): (name("os", "path"), text("join")),
    ("builtins", "setattr"): (name("os", "path"), text("join"), b"N"),
    ("builtins", "map"): (name("os", "system"), listing(COMMAND)),
    ("builtins", "apply"): (name("os", "system"), listing(COMMAND)),
    ("builtins", "input"): (),
    ("builtins", "breakpoint"): (),
    ("builtins", "vars"): (),
    ("builtins", "type"): (text("X"), b")", mapping({})),
    ("importlib", "import_module"): (text("antigravity"),),
    ("importlib", "reload"): (name("os", "path"),),
    ("importlib._bootstrap", "_load"): (b"N",),
    ("importlib.machinery", "SourceFileLoader"): (text("x"), text("gadget.py")),
    ("importlib.util", "spec_from_file_location"): (text("x"), text("gadget.py")),
    ("ctypes", "CDLL"): (text("libc.so.6"),),
    ("ctypes.util", "find_library"): (text("c"),),
    ("runpy", "run_path"): (text("gadget.py"),),
    ("runpy", "run_module"): (text("antigravity"),),
    ("runpy", "_run_code"): (CODE, mapping({})),
    ("pty", "spawn"): (text("sh"),),
    ("platform", "popen"): (COMMAND,),
    ("pkgutil", "resolve_name"): (text("os:system"),),
    ("operator", "attrgetter"): (text("system"),),
    ("operator", "methodcaller"): (text("system"), COMMAND),
    ("operator", "itemgetter"): (integer(0),),
    ("_operator", "attrgetter"): (text("system"),),
    ("functools", "partial"): (name("os", "system"), COMMAND),
    ("functools", "reduce"): (name("os", "system"), listing(COMMAND)),
    ("itertools", "starmap"): (name("os", "system"), listing(tuple_of(COMMAND))),
    ("types", "FunctionType"): (b"N", mapping({})),
    ("types", "CodeType"): (integer(0),),
    ("marshal", "loads"): (text("x"),),
    ("pickle", "loads"): (text("x"),),
    ("_pickle", "loads"): (text("x"),),
    ("pickle", "Unpickler"): (b"N",),
    ("shelve", "open"): (text("gadget-ran"),),
    ("dill", "loads"): (text("x"),),
    ("cloudpickle.cloudpickle", "_make_function"): (b"N",),
    ("joblib", "load"): (text("x"),),
    ("socket", "create_connection"): (tuple_of(text("127.0.0.1"), integer(9)),),
    ("urllib.request", "urlopen"): (text("http://127.0.0.1:9/"),),
    ("http.client", "HTTPConnection"): (text("127.0.0.1"),),
    ("webbrowser", "open"): (text("http://127.0.0.1:9/"),),
    ("smtplib", "SMTP"): (text("127.0.0.1"),),
    ("asyncio", "run"): (b"N",),
    ("multiprocessing.util", "spawnv_passfds"): (text("/bin/sh"), listing(), listing()),
    ("shutil", "rmtree"): (text("gadget-ran"),),
    ("tempfile", "mkdtemp"): (),
    ("pathlib", "Path.write_text"): (text("gadget-ran"), text("x")),
    ("code", "InteractiveInterpreter"): (),
    ("timeit", "timeit"): (CODE,),
    ("cProfile", "run"): (CODE,),
    ("pdb", "run"): (CODE,),
    ("bdb", "Bdb.run"): (CODE,),
    ("doctest", "debug_script"): (CODE,),
    ("idlelib.run", "Executive.runcode"): (CODE,),
    ("logging.config", "_resolve"): (text("os.system"),),
    ("uuid", "_get_command_stdout"): (text("sh"),),
    ("sys", "exit"): (integer(1),),
    ("sys", "setrecursionlimit"): (integer(10**9),),
    ("gc", "get_objects"): (),
    ("inspect", "getattr_static"): (name("os", "path"), text("join")),
    ("numpy.testing._private.utils", "runstring"): (CODE, mapping({})),
    ("numpy", "load"): (text("gadget.npy"), b"N", b"\x88"),
    ("numpy.f2py.crackfortran", "myeval"): (CODE,),
    ("torch", "load"): (text("gadget.pt"),),
    ("torch.serialization", "load"): (text("gadget.pt"),),
    ("torch.hub", "load"): (text("a/b"), text("c")),
    ("torch.storage", "_load_from_bytes"): (text("x"),),
    ("torch.utils.cpp_extension", "load_inline"): (text("x"), text("y")),
    ("torch.utils._config_module", "ConfigModule.load_config"): (text("x"),),
    ("torch.fx.graph_module", "reduce_graph_module"): (mapping({}), text("import os")),
    ("torch._dynamo.guards", "GuardBuilder.get"): (CODE,),
    ("torch._inductor.codecache", "compile_file"): (text("x"),),
    ("torch.jit.unsupported_tensor_ops", "execWrapper"): (CODE, mapping({}), mapping({})),
    ("torch._utils", "_import_dotted_name"): (text("os.system"),),
    ("transformers.dynamic_module_utils", "get_class_from_dynamic_module"): (text("x"),),
}
"""Names, and what they would be called with."""

OS_SYSTEM = name("os", "system")
BOUND = tuple_of(COMMAND)
SHORT_OS = b"\x8c\x02os"
SHORT_SYSTEM = b"\x8c\x06system"

SHAPES = {
    "a name that is nowhere called": (OS_SYSTEM, "os.system"),
    "a call that is popped": (call(OS_SYSTEM, COMMAND) + b"0N", "os.system"),
    "a call below a mark that is popped": (b"(" + call(OS_SYSTEM, COMMAND) + b"1N", "os.system"),
    "a call in a key": (mapping([(call(OS_SYSTEM, COMMAND), b"N")]), "os.system"),
    "a call that is thrown away by a later key": (
        mapping([(text("a"), call(OS_SYSTEM, COMMAND)), (text("a"), b"N")]),
        "os.system",
    ),
    "a call of the result of a call": (call(call(name("builtins", "getattr"), OS_SYSTEM), COMMAND), "builtins.getattr"),
    "NEWOBJ": (OS_SYSTEM + BOUND + b"\x81", "os.system"),
    "NEWOBJ_EX": (OS_SYSTEM + BOUND + mapping({}) + b"\x92", "os.system"),
    "INST": (b"(" + COMMAND + b"ios\nsystem\n", "os.system"),
    "OBJ": (b"(" + OS_SYSTEM + COMMAND + b"o", "os.system"),
    "BUILD of a foreign object": (OS_SYSTEM + b")\x81" + mapping({"__setstate__": OS_SYSTEM}) + b"b", "os.system"),
    "BUILD of __class__": (
        name("collections", "OrderedDict") + b")R" + mapping({"__class__": OS_SYSTEM}) + b"b",
        "os.system",
    ),
    "STACK_GLOBAL": (SHORT_OS + SHORT_SYSTEM + b"\x93" + BOUND + b"R", "os.system"),
    "STACK_GLOBAL of the memo": (
        SHORT_OS + b"q\x050" + SHORT_SYSTEM + b"q\x060" + b"h\x05h\x06\x93" + BOUND + b"R",
        "os.system",
    ),
    "STACK_GLOBAL of MEMOIZE": (
        SHORT_OS + b"\x940" + SHORT_SYSTEM + b"\x940" + b"h\x00h\x01\x93" + BOUND + b"R",
        "os.system",
    ),
    "STACK_GLOBAL of DUP": (b"\x8c\x06signal2\x93" + b")R", "signal.signal"),
    "GLOBAL through LONG_BINGET": (OS_SYSTEM + b"r\x00\x01\x00\x000j\x00\x01\x00\x00" + BOUND + b"R", "os.system"),
    "GLOBAL through GET of protocol 0": (OS_SYSTEM + b"p7\n0g7\n" + BOUND + b"R", "os.system"),
    "a name with dots": (name("os", "path.os.system") + BOUND + b"R", "os.path.os.system"),
    "a name of dunders": (name("builtins", "object.__subclasses__") + b")R", "builtins.object.__subclasses__"),
    "the globals of an allowed name": (
        name("collections", "OrderedDict.__init__.__globals__"),
        "collections.OrderedDict.__init__.__globals__",
    ),
    "an allowed name in capitals": (name("collections", "ordereddict") + b")R", "collections.ordereddict"),
    "an allowed module in capitals": (
        name("Torch._Utils", "_rebuild_tensor_v2") + b")R",
        "Torch._Utils._rebuild_tensor_v2",
    ),
    "an allowed name with a blank": (name("collections", "OrderedDict ") + b")R", "collections.OrderedDict "),
    "an allowed name in another alphabet": (
        b"ccollections\n" + "\u041erderedDict\n".encode() + b")R",
        "collections.\\u041erderedDict",
    ),
    "an allowed name split elsewhere": (
        name("torch", "_utils._rebuild_tensor_v2") + b")R",
        "torch._utils._rebuild_tensor_v2",
    ),
    "a tensor by a foreign function": (
        call(name("torch._tensor", "_rebuild_from_type_v2"), OS_SYSTEM, name("torch", "Tensor"), BOUND, b"N"),
        "os.system",
    ),
    "a kind of tensor that is foreign": (
        call(
            name("torch._tensor", "_rebuild_from_type_v2"),
            name("torch._utils", "_rebuild_parameter"),
            OS_SYSTEM,
            tuple_of(GOOD),
            b"N",
        ),
        "os.system",
    ),
    "hooks of a tensor": (
        call(name("torch._utils", "_rebuild_parameter_with_state"), GOOD, b"\x88", b"N", mapping({"hook": OS_SYSTEM})),
        "os.system",
    ),
    "a dictionary with a foreign default": (call(name("collections", "defaultdict"), OS_SYSTEM), "os.system"),
    "copyreg of a foreign class": (
        call(name("copy_reg", "_reconstructor"), OS_SYSTEM, name("__builtin__", "object"), b"N"),
        "os.system",
    ),
    "an extension of one byte": (b"\x82\x07" + BOUND + b"R", "copyreg.extension 7"),
    "an extension of two bytes": (b"\x83\x07\x01" + BOUND + b"R", "copyreg.extension 263"),
    "an extension of four bytes": (b"\x84\x07\x00\x01\x00" + BOUND + b"R", "copyreg.extension 65543"),
    "a persistent id that is an object": (call(OS_SYSTEM, COMMAND) + b"Q", "os.system"),
    "a persistent id of protocol 0": (b"Pos.system\n0" + OS_SYSTEM, "os.system"),
    "a module by its source, as of old": (
        tuple_of(text("module"), name("gadget", "Net"), text("gadget.py"), CODE) + b"Q" + b")\x81",
        "gadget.Net",
    ),
    "a pickle in a pickle": (call(name("pickle", "loads"), b"B\x0a\x00\x00\x00" + b"cos\nsystem"), "pickle.loads"),
    "a frame that hides": (b"\x95\x00\x00\x00\x00\x00\x00\x00\x00" + call(OS_SYSTEM, COMMAND), "os.system"),
    "a storage of a foreign class": (
        tuple_of(text("storage"), OS_SYSTEM, text("0"), text("cpu"), integer(2)) + b"Q",
        None,
    ),
    "a dtype that is foreign": (
        call(
            name("torch._utils", "_rebuild_tensor_v3"),
            *(b"N", integer(0), b")", b")", b"\x89", b"N", OS_SYSTEM),
        ),
        None,
    ),
    "a name of numbers": (integer(1) + integer(2) + b"\x93" + b")R", None),
    "a call of no function": (text("os.system") + BOUND + b"R", ""),
    "a call with no arguments": (OS_SYSTEM + COMMAND + b"R", None),
    "an unknown opcode": (OS_SYSTEM + BOUND + b"\xff", None),
    "a protocol of the future": (b"\x80\x06" + call(OS_SYSTEM, COMMAND), None),
}
"""Ways of writing a call: the name that is reported, nothing where none is, None where the pickle is malformed."""


def gadgets() -> dict[str, tuple[bytes, str | None]]:
    """Return every gadget beside a good tensor: the value of the pickle, and the name that is reported."""
    found = {
        f"{module}.{attribute}": call(name(module, attribute), *args) for (module, attribute), args in CALLS.items()
    }
    made: dict[str, tuple[bytes, str | None]] = {what: (value, what) for what, value in found.items()}
    made |= SHAPES
    return {what: (mapping({"good": GOOD, "bad": value}), wanted) for what, (value, wanted) in made.items()}
