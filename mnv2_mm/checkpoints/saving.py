"""Save the checkpoints of a training so that a kill at any moment loses none.

mmengine writes a file under its own name, deletes old checkpoints before it writes the
new one, and a validation that was cut short is never done. Here mmengine's hook writes
into a folder beside, from which complete files are renamed.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast, broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from mnv2_mm.checkpoints.resume import LAST_VALIDATION, is_complete, last_validation
from mnv2_mm.registry import HOOKS
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import whole_file

#: Folder of unfinished files; on the same file system, where renaming is atomic.
_UNFINISHED = '.unfinished'


class _Saver:
    """A runner for CheckpointHook whose files appear when they are complete."""

    def __init__(self, runner: Runner, work_dir: str) -> None:
        self._runner = runner
        self.work_dir = work_dir

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kw: Any):
        """Save as the runner does."""
        if not is_main_process() or '://' in out_dir:
            return self._runner.save_checkpoint(out_dir, filename, *args, **kw)
        with whole_file(Path(out_dir, filename), beside=_UNFINISHED) as part:
            self._runner.save_checkpoint(str(part.parent), filename, *args, **kw)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, with its arguments; see the module.

    On resume it validates first, if the checkpoint was not validated yet or if the best
    checkpoint is lost.
    """

    def before_train(self, runner: Runner) -> None:
        """Remove what a killed training left, and validate if that is due."""
        lost = bool(runner.iter) and self._forget_lost_best(runner)
        super().before_train(runner)
        if is_main_process():
            for folder in {runner.work_dir, str(self.out_dir)}:
                shutil.rmtree(Path(folder) / _UNFINISHED, ignore_errors=True)
            if not runner.iter:  # of an older training
                (Path(runner.work_dir) / LAST_VALIDATION).unlink(missing_ok=True)
        missing = [lost or last_validation(runner.work_dir) != runner.iter]
        broadcast_object_list(missing)
        if missing[0] and _is_due(runner):
            runner.logger.info('the checkpoint was not validated yet: validating it')
            self.last_ckpt = runner._load_from
            runner.val_loop.run()

    def before_val(self, runner: Runner) -> None:
        """Give all processes the statistics of the one that saves the file."""
        averages = (getattr(hook, 'ema_model', None) for hook in runner.hooks)
        for model in (runner.model, *filter(None, averages)):
            for buffer in model.buffers():
                broadcast(buffer)

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        """Save the best checkpoint, then note that the validation is done."""
        super().after_val_epoch(runner, metrics)
        loop = runner._train_loop
        if is_main_process() and isinstance(
            loop, EpochBasedTrainLoop | IterBasedTrainLoop
        ):
            path = Path(runner.work_dir, LAST_VALIDATION)
            with whole_file(path, beside=_UNFINISHED) as part:
                part.write_text(str(loop.iter))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        for key in self.key_indicators if self.save_best else ():
            if key not in (*metrics, 'auto'):
                raise InputError(
                    f'default_hooks.checkpoint.save_best is {key!r}, which no metric '
                    f'is; there are {", ".join(metrics)}'
                )
        super()._save_best_checkpoint(_Saver(runner, runner.work_dir), metrics)

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict) -> None:
        """Save; the oldest checkpoint is deleted after that."""
        runner = getattr(runner, '_runner', runner)
        ids, oldest = getattr(self, 'keep_ckpt_ids', ()), None
        if ids and len(ids) == self.max_keep_ckpts and ids[-1] != step:
            oldest = ids.popleft()
        save = super()._save_checkpoint_with_step
        if not is_main_process():
            save(runner, step, meta)
            return
        path = Path(runner.work_dir, 'last_checkpoint')
        with whole_file(path, beside=_UNFINISHED) as part:
            save(_Saver(runner, str(part.parent)), step, meta)
        if oldest is not None:
            path = self.file_backend.join_path(
                self.out_dir, self.filename_tmpl.format(oldest)
            )
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)

    def _forget_lost_best(self, runner: Runner) -> bool:
        """Drop the scores of best checkpoints that are missing or cut off."""
        hub, lost = runner.message_hub, False
        for key in [k for k in hub.runtime_info if k.startswith('best_ckpt')]:
            path = str(hub.get_info(key))
            if self.out_dir is None:  # the work dir may have been moved
                path = os.path.join(runner.work_dir, os.path.basename(path))
            if is_complete(path):
                hub.update_info(key, path)
                continue
            lost = True
            runner.logger.warning(f'the best checkpoint {path} is missing or cut off')
            for name in (key, key.replace('best_ckpt', 'best_score')):
                hub.runtime_info.pop(name, None)
        return lost


def _is_due(runner: Runner) -> bool:
    """Whether the loop validates at the place where a resumed training stands."""
    loop = runner.train_loop
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    if runner._val_loop is None or not loop.iter:
        return False
    if by_epoch and loop.iter != loop.epoch * len(loop.dataloader):
        return False  # in the middle of an epoch
    count, end = loop.iter, loop.max_iters
    if by_epoch:
        count, end = loop.epoch, loop.max_epochs
    loop._decide_current_val_interval()
    return count >= loop.val_begin and (count % loop.val_interval == 0 or count == end)
