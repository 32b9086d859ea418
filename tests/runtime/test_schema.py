"""docs/model_schema.json is the schema of today's model.json."""

import json
from pathlib import Path

import pytest

from mnv2_mm.runtime.description import schema

FILE = Path(__file__).resolve().parents[2] / 'docs/model_schema.json'


def test_the_schema_in_the_docs_is_current() -> None:
    assert json.loads(FILE.read_text()) == json.loads(schema()), (
        'python -c "from mnv2_mm.runtime.description import schema; '
        'print(schema(), end=str())" > docs/model_schema.json'
    )


@pytest.mark.parametrize(
    'part', ['_Preprocessing', '_Output', '_Thresholds', '_Ending']
)
def test_what_is_not_plain_from_its_name_is_explained(part: str) -> None:
    content = json.loads(schema())['$defs'][part]
    assert content['description']
    assert sum('description' in p for p in content['properties'].values()) > 2
