"""What a study leaves: tables, numbers and figures, with what made them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table as RichTable

from experiments.lab.figures import save
from experiments.lab.results.store import current_environment
from experiments.lab.system.files import write_atomically, write_json
from experiments.lab.system.tables import Table, print_whole
from experiments.lab.system.terminal import plain_console
from experiments.rl.figures import FIGURES
from experiments.rl.kept import Store, code
from experiments.rl.study import Plan, Studied
from experiments.rl.tables import answers_table, claims_table, methods_table, numbers_of


@dataclass(frozen=True, eq=False)
class Output:
    """A study, and what made it.

    Attributes:
        studied: what it gave.
        plan: what was asked for.
        store: where its groups are kept.
        tabular: see `tabular.tabular_result`; None without claims.
        command: as it was given.
        seconds: that the command took.
    """

    studied: Studied
    plan: Plan
    store: Store
    tabular: dict[str, Any] | None
    command: str
    seconds: float

    def tables(self) -> list[Table]:
        """All tables."""
        methods = self.studied.methods
        claims = [claims_table(self.studied, self.plan.settings, self.tabular)] if self.plan.claims else []
        return [*claims, methods_table(methods), answers_table(methods)]

    def notes(self) -> list[str]:
        """What made the tables, in sentences."""
        plan, store = self.plan, self.store
        chosen = f"the best of {plan.budget} configurations on {len(plan.tuning)} seeds"
        found = [
            f"Made by `{self.command}`.",
            f"Each method: {chosen if plan.budget > 1 else 'its usual numbers'}, "
            f"compared on {len(plan.seeds)}{' others' if plan.budget > 1 else ' seeds'}.",
            f"{store.trained + store.found.total()} groups of agents took {store.seconds:.0f} s to train.",
        ]
        if self.tabular is not None:
            made = f"`{self.tabular['command']}`, code {self.tabular['code']}"
            found.append(f"The rows on tabular Q(λ) are those of {made}.")
        for digest, n in store.of_other_code().items():
            found.append(f"**Other code trained {n} of these groups: digest {digest}, now {code()}.**")
        return found

    def write(self, folder: Path, plots: Path) -> None:
        """Write the numbers and tables, and the figures.

        Raises:
            OSError: if something cannot be written.
        """
        agent = self.plan.settings.agent
        write_json(folder / f"{agent}.json", self._content(), indent=1)
        text = "\n\n".join([*(table.markdown() for table in self.tables()), "\n".join(self.notes())])
        write_atomically(folder / f"{agent}.md", (text + "\n").encode())
        for name, draw in FIGURES.items():
            save(draw(self.studied.methods, self.plan.settings), plots, f"rl-{agent}-{name}")

    def show(self) -> None:
        """Print the tables, and what made them."""
        console = plain_console()
        for table in self.tables():
            shown = RichTable(*table.head, box=None, pad_edge=False)
            for row in table.rows:
                shown.add_row(*("" if cell is None else str(cell) for cell in row))
            console.print(f"\n{table.title.replace('**', '')}\n")
            print_whole(console, shown)
        print("", *(note.replace("**", "").replace("`", "") for note in self.notes()), sep="\n")

    def _content(self) -> dict[str, Any]:
        plan, store, studied = self.plan, self.store, self.studied
        return {
            "command": self.command,
            "notes": self.notes(),
            "seconds": self.seconds,
            "seconds_of_all_groups": round(store.seconds, 1),
            "groups": {"trained": store.trained, "found_by_code": dict(store.found)},
            "environment": current_environment(),
            "settings": asdict(plan.settings),
            "seeds": {"tuning": plan.tuning if plan.budget > 1 else (), "comparison": plan.seeds},
            "methods": {
                name: {
                    "numbers": one.numbers,
                    "edges": one.edges,
                    "tried": [each._asdict() for each in one.tried],
                    **numbers_of(one.measured),
                }
                for name, one in studied.methods.items()
            },
            "beakers": {number: numbers_of(one) for number, one in studied.beakers.items()},
            "cart-pole alone": {name: numbers_of(one) for name, one in studied.alone.items()},
            "cart-pole without replay": {name: numbers_of(one) for name, one in studied.unreplayed.items()},
            "tabular": self.tabular,
            "tables": [asdict(table) for table in self.tables()],
        }
