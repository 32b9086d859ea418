"""Compare converted TFLite files with their interpreter; tools/reproduce.py calls this.

The agreement needs no labels, so it shows what a conversion keeps where the validation
sets are not at hand.
"""

from argparse import Namespace
from pathlib import Path

from mnv2_mm.analysis.interpreter import agreement
from mnv2_mm.analysis.reproduction import IN_HOST, host_config, host_weights
from mnv2_mm.api import init_model
from mnv2_mm.checkpoints.convert import convert, read_weights, save
from mnv2_mm.checkpoints.hub import config_for
from mnv2_mm.datasets.checks.source import evenly
from mnv2_mm.runtime.sources import find_sources, frames_of
from mnv2_mm.utils.config import get_config
from mnv2_mm.utils.console import filter_warnings
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import user_path, write_json

#: Flags that only tables have.
_OF_TABLES = 'rows', 'partial', 'ids', 'classes', 'interpreter', 'peers', 'markdown'


def compare(args: Namespace) -> list[dict[str, object]]:
    """Compare converted TFLite files with their interpreter, without labels."""
    filter_warnings()
    folder = Path(args.work_dir or 'work_dirs/reproduce_agreement')
    if not args.weights:
        raise InputError('agreement needs --weights FILE.tflite')
    for flag in _OF_TABLES:
        if getattr(args, flag):
            raise InputError(f'agreement takes no --{flag}; leave it out')
    for entry in args.weights:
        _, sign, file = entry.rpartition('=')
        if sign and not user_path(entry).exists():
            raise InputError(
                f'--weights {entry}: agreement takes files without names; give '
                f'--weights {file}'
            )
    leaves = find_sources(args.data)
    if args.limit is not None:
        leaves = evenly(leaves, args.limit)
    results = []
    for entry in args.weights:
        file = user_path(entry)
        source = read_weights(file)
        name = config_for(source)
        cfg = get_config(name)
        checkpoint, _ = convert(source, cfg)
        networks = {'': cfg}
        if args.host and 'bbox_head' not in cfg.model:
            networks[IN_HOST] = host_config(cfg)
        for where, own in networks.items():
            if where:
                checkpoint['state_dict'] = host_weights(checkpoint['state_dict'])
            weights = folder / f'{file.stem}.pth'
            save(checkpoint, weights)
            images = (frame.image for leaf in leaves for frame in frames_of(leaf))
            found = agreement(init_model(own, weights), file, images)
            results.append(dict(file=file.name, config=name, network=where, **found))
            print(f'{file.name}{where}, config {name}, {found.pop("images")} images')
            for what, value in found.items():
                print(f'  {what}: {value:.2f} %')
    if args.json:
        write_json(args.json, results)
    return results
