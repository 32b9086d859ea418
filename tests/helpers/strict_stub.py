"""A module made from a stub (.pyi): what the stub lacks raises.

Every call is bound to the signature in the stub, arguments and results are
checked against its types, and attributes can be written where the stub
declares a variable and not a property. What a class does is in another
class, which is handed in.
"""

import ast
import enum
import inspect
import types
from importlib.machinery import ModuleSpec


def make(stub, name, behind, version):
    """The module of a stub.

    Args:
        stub: Path of the .pyi.
        name: Name of the module.
        behind: By the names in the stub, the classes and functions that do
            the work; classes get the module as their attribute ``module``.
        version: What the module says of itself.
    """
    module = types.ModuleType(name)
    module.__version__ = version
    module.__spec__ = ModuleSpec(name, None)  # importlib may ask for it
    fronts = {}
    for item in ast.parse(stub.read_text()).body:
        if isinstance(item, ast.ClassDef):
            if item.bases:
                fronts[item.name] = _enum(item)
            else:
                fronts[item.name] = _front(item, module, fronts, behind)
            setattr(module, item.name, fronts[item.name])
        elif isinstance(item, ast.FunctionDef):
            function = _function(item, fronts, behind)
            setattr(module, item.name, function)
    return module


def _enum(item):
    values = {
        line.targets[0].id: line.value.value
        for line in item.body
        if isinstance(line, ast.Assign)
    }
    return enum.IntEnum(item.name, values)


def _front(item, module, fronts, behind):
    """A class with the members of the stub and no others."""

    def no_constructor(self, *_):
        raise TypeError(f'{item.name} has no constructor')

    space = {'__slots__': ('_it',), '__init__': no_constructor}
    for line in item.body:
        if isinstance(line, ast.AnnAssign):
            constant = 'ClassVar' in ast.unparse(line.annotation)
            space[line.target.id] = 2 if constant else _attribute(line, fronts)
        elif not isinstance(line, ast.FunctionDef):
            continue
        elif line.name == '__init__':
            space['__init__'] = _constructor(behind[item.name], line, module, fronts)
        elif line.decorator_list:
            space[line.name] = _property(line, fronts)
        else:
            space[line.name] = _method(line, fronts)
    if hasattr(behind[item.name], '__bytes__'):  # a buffer, in C
        space['__bytes__'] = lambda self: bytes(self._it)
    return type(item.name, (), space)


def _constructor(cls, line, module, fronts):
    def init(self, *args, **kwargs):
        self._it = cls(**_bind(line, args, kwargs, fronts, skip=1))
        self._it.module = module

    return init


def _attribute(line, fronts):
    def write(self, value):
        _fits(value, line.annotation, fronts, line.target.id)
        setattr(self._it, line.target.id, value)

    return property(lambda self: getattr(self._it, line.target.id), write)


def _property(line, fronts):
    def read(self):
        found = getattr(self._it, line.name)
        return _wrap(found, line.returns, fronts, line.name)

    return property(read)


def _method(line, fronts):
    def call(self, *args, **kwargs):
        values = _bind(line, args, kwargs, fronts, skip=1)
        found = getattr(self._it, line.name)(**values)
        return _wrap(found, line.returns, fronts, line.name)

    return call


def _function(line, fronts, behind):
    def call(*args, **kwargs):
        values = _bind(line, args, kwargs, fronts, skip=0)
        return behind[line.name](**values)

    return call


def _bind(line, args, kwargs, fronts, skip):
    """Arguments by name, checked and without their fronts."""
    kinds = {a.arg: a.annotation for a in line.args.args[skip:]}
    least = len(kinds) - len(line.args.defaults)
    signature = inspect.Signature(
        [
            inspect.Parameter(
                name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if i < least else None,
            )
            for i, name in enumerate(kinds)
        ]
    )
    given = signature.bind(*args, **kwargs).arguments
    for name, value in given.items():
        _fits(value, kinds[name], fronts, f'{line.name}({name})')
    return {name: getattr(v, '_it', v) for name, v in given.items()}


def _fits(value, annotation, fronts, where):
    text = ast.unparse(annotation)
    if text == 'Dims':
        good = isinstance(value, tuple | list)
        good = good and all(type(side) is int for side in value)
    elif text == 'Buffer':
        good = isinstance(value, bytes | bytearray | memoryview)
    elif text == 'int':
        good = isinstance(value, int) and not isinstance(value, bool)
    elif text in ('str', 'bool'):
        good = type(value).__name__ == text
    else:
        good = isinstance(value, fronts[text])
    if not good:
        raise TypeError(f'{where} takes {text}, not {value!r}')


def _wrap(value, annotation, fronts, where):
    """A result as the class of the stub."""
    text = ast.unparse(annotation)
    name = text.removesuffix(' | None')
    if value is None:
        assert text == 'None' or name != text, where
        return None
    if name in fronts and not issubclass(fronts[name], enum.Enum):
        front = object.__new__(fronts[name])
        front._it = value
        return front
    if name != 'list[Dims]':
        _fits(value, ast.parse(name, mode='eval').body, fronts, where)
    return value
