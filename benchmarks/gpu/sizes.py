"""How much is measured: all of it on a card, and a small likeness on a CPU, which shows that everything runs."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Training:
    """One way to fine-tune. The first `warm_up` of `steps` are not counted: they compile, and take memory."""

    batch: int
    compile: bool = False
    fused: bool = True
    workers: int = 4
    steps: int = 30
    warm_up: int = 5


@dataclass(frozen=True)
class Sizes:
    shape: dict[str, int] = field(default_factory=dict)  # what differs from t5-small, as T5Config has it
    matrix: int = 8192  # side of the matrices whose product is the card's peak
    # What a limit cuts is at the end.
    trainings: tuple[Training, ...] = (
        Training(64),
        Training(256),
        Training(64, compile=True, steps=60, warm_up=30),
        Training(64, fused=False),
        Training(64, workers=0),
        Training(8),
        Training(256, compile=True, steps=50, warm_up=25),
    )
    documents: int = 32  # compared with PyTorch; two engines on as many again
    batches: tuple[int, ...] = (1, 8, 32, 128)
    source: int = 400  # tokens
    new: int = 64  # tokens
    rounds: int = 3
    steps: int = 200  # of the decoder alone, whose mean counts
    rows: int = 128  # sequences that our engine decodes at once
    mixed: int = 512  # requests of the mixed load
    clients: tuple[int, ...] = (8, 32, 64)
    answer: int = 9  # new tokens of a request to the service
    seconds: float = 8.0  # of each load on the service


CARD = Sizes()
PROCESSOR = Sizes(
    shape={"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4},
    matrix=256,
    trainings=(Training(2, workers=0, steps=4, warm_up=2), Training(2, fused=False, workers=0, steps=4, warm_up=2)),
    documents=4,
    batches=(1, 2),
    source=40,
    new=8,
    rounds=1,
    steps=8,
    rows=8,
    mixed=8,
    clients=(2,),
    seconds=1.0,
)


def sizes(device: str) -> Sizes:
    return CARD if device == "cuda" else PROCESSOR
