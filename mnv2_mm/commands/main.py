"""The console script ``mnv2``: ``mnv2 train CONFIG`` runs tools/train.py."""

import difflib
import importlib.util
import sys

from mnv2_mm.utils.cli import repository_root
from mnv2_mm.utils.errors import command

#: Sub-command: (file in tools/, what it does).
COMMANDS = {
    'train': ('train', 'train a config'),
    'test': ('test', 'evaluate a checkpoint or an exported model'),
    'predict': ('demo', 'predict for images, folders and videos'),
    'convert': ('convert_weights', 'convert weights of other code bases'),
    'export': ('export', 'export a model for ONNX Runtime, ncnn, TFLite and others'),
    'web': ('export_web', 'write a web page that runs an exported model on a phone'),
    'run': ('run_exported', 'run or time an exported model, without torch'),
    'data': ('prepare_data', 'own data in any annotation format: check, split, config'),
    'sample': ('make_sample_data', 'generate a small data set to try a training'),
    'browse': ('browse_dataset', 'check, count and draw what a config trains on'),
    'report': ('report', 'write an HTML page about a training: errors, images, speed'),
    'curves': ('plot_curves', 'draw loss and metrics of a training'),
    'benchmark': ('benchmark', 'time this project against the hosts'),
    'reproduce': ('reproduce', "measure the paper's accuracy with Google's weights"),
}


def main() -> int:
    """Run a sub-command; returns the exit code."""
    name = sys.argv[1] if len(sys.argv) > 1 else '--help'
    if name in ('-h', '--help'):
        print('usage: mnv2 COMMAND ...   (mnv2 COMMAND --help tells more)\n')
        for word, (_, text) in COMMANDS.items():
            print(f'  {word:10} {text}')
        print(f'  {"check":10} say what is installed, missing, and the remedy')
        return 0
    if name == 'check':
        from mnv2_mm.check import main as check

        sys.argv[:2] = ['mnv2 check']
        return command(check)()
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, [*COMMANDS, 'check'], n=1)
        hint = f'did you mean {near[0]}?' if near else '`mnv2` lists them'
        print(f'error: there is no command {name}; {hint}', file=sys.stderr)
        return 2
    path = repository_root() / f'tools/{COMMANDS[name][0]}.py'
    spec = importlib.util.spec_from_file_location(f'mnv2_{name}', path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    sys.argv[:2] = [f'mnv2 {name}']
    return tool.main()
