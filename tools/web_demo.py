"""Try a model in a web page: a Gradio demo on this machine, images and webcam."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import tool_parser
from mnv2_mm.utils.errors import InputError, command

if TYPE_CHECKING:
    import numpy as np
    from gradio import Interface

    from mnv2_mm.runtime.predictor import Predictor


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = tool_parser(
        'Try a model in a web page on this machine (Gradio).',
        'python tools/web_demo.py deeplabv3_mnv2_voc',
        'python tools/web_demo.py work_dirs/exported --port 8080',
    )
    text = 'name of a published network, a checkpoint, or an exported model'
    parser.add_argument('model', help=text)
    parser.add_argument('--weights', help='weights of a model that is a config')
    text = (
        'address to listen on; 0.0.0.0 lets the whole network in (default: %(default)s)'
    )
    parser.add_argument('--host', default='127.0.0.1', help=text)
    parser.add_argument('--port', type=int, default=7860, help='(default: %(default)s)')
    return parser.parse_args()


def page(model: 'Predictor', title: str) -> 'Interface':
    """The page: image and threshold in, drawing and JSON out."""
    os.environ.setdefault(
        'GRADIO_ANALYTICS_ENABLED', 'False'
    )  # it reports to its makers
    try:
        import gradio
    except ImportError as error:
        raise InputError(
            'gradio is not installed: pip install -r requirements/demo.txt'
        ) from error

    def predict(
        image: str | None, threshold: float
    ) -> tuple['np.ndarray | None', dict]:
        """Predict for the file of an image."""
        if image is None:
            return None, {}
        (result,) = model.predict(Path(image), threshold=threshold)
        return result.plot()[..., ::-1], result.to_dict()

    return gradio.Interface(
        predict,
        [
            gradio.Image(
                sources=['upload', 'webcam', 'clipboard'],
                label='Image',
                # the file itself: Pillow clips 16 bits
                type='filepath',
                image_mode=None,
            ),
            gradio.Slider(0, 1, 0.3, label='Lowest score of a box'),
        ],
        [gradio.Image(label='Prediction', format='png'), gradio.JSON(label='Numbers')],
        title=title,
        api_name='predict',
        flagging_mode='never',
    )


@command
def main() -> None:
    """Load the model, serve the page until Ctrl-C."""
    args = parse_args()

    from mnv2_mm.api import load

    made = page(load(args.model, args.weights), str(args.model))
    try:
        made.launch(server_name=args.host, server_port=args.port, share=False)
    except OSError as error:  # the port is taken
        raise InputError(f'{error}; choose another --port') from error


if __name__ == '__main__':
    main()
