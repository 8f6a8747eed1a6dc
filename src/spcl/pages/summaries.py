"""The result in three or four sentences, for a reader who pays for it and does not know the method."""

from __future__ import annotations

from spcl.pages.compared import ComparisonSection
from spcl.pages.groups_section import GroupsSection
from spcl.pages.rankings import RankedSection
from spcl.pages.run_curves import ShownRun
from spcl.pages.similarities import SimilaritySection
from spcl.pages.subjects import Subject

_SETTLED = 0.9


def summary(
    subject: Subject,
    groups: GroupsSection | None,
    ranked: RankedSection | None,
    similarities: SimilaritySection | None,
    comparison: ComparisonSection | None,
) -> tuple[str, ...]:
    """Give at most three sentences, the most important first, and one on the number of individuals if known."""
    if comparison is not None:
        return tuple(_of_comparison(comparison))
    of_groups = [] if groups is None else _of_groups(groups)
    of_ranking = [] if ranked is None else _of_ranking(ranked, similarities)
    runs = subject.runs
    of_runs = _of_runs(runs) if len(runs) > 1 else _of_run(runs[0]) if runs else []
    if subject.about == "groups":
        sentences = [*of_groups, *of_ranking]
    elif subject.about == "runs":
        sentences = [*of_runs[:2], *of_ranking[1:], *of_groups[:1], *of_runs[2:]]
    else:
        sentences = [*of_ranking, *of_groups]
    if len(sentences) < 3 and subject.images is not None:
        sentences.append(_of_images(subject))
    individuals = [] if groups is None or not groups.individuals else [groups.individuals]
    return (*sentences[:1], *individuals, *sentences[1:3]) if subject.about == "groups" else tuple(sentences[:3])


def _of_comparison(found: ComparisonSection) -> list[str]:
    change = 100 * (found.after - found.before)
    direction = "better" if change > 0.05 else "worse" if change < -0.05 else "neither better nor worse"
    return [
        f"On these queries {found.names[1]} is {direction} than {found.names[0]}: the mean average precision goes from "
        f"{100 * found.before:.1f} % to {100 * found.after:.1f} %.",
        f"{found.num_better:,} queries became better, {found.num_worse:,} became worse, and {found.num_equal:,} did "
        "not change.",
        "Look at the queries that became worse first: they show what the change costs."
        if found.num_worse
        else "No query became worse.",
    ]


def _of_runs(runs: tuple[ShownRun, ...]) -> list[str]:
    rated = [run for run in runs if run.last.get("mAP") is not None]
    if not rated:
        return [f"{len(runs)} runs are laid over each other; none was evaluated, so that the best one is unknown."]
    best = max(rated, key=lambda run: float(run.last["mAP"]))
    worst = min(rated, key=lambda run: float(run.last["mAP"]))
    return [
        f"Of {len(rated)} evaluated runs {best.name} ends best, with a mean average precision of "
        f"{100 * float(best.last['mAP']):.1f} %; the lowest is {100 * float(worst.last['mAP']):.1f} % ({worst.name}).",
        "A difference between two runs is only certain where it is larger than the spread over seeds.",
    ]


def _of_ranking(ranked: RankedSection, similarities: SimilaritySection | None) -> list[str]:
    if ranked.ranked is None:
        return []
    result = ranked.ranked.result
    sentences = [
        f"Of 100 searches, {100 * result.top(1):.0f} show the right object first and {100 * result.top(10):.0f} among "
        f"the first ten ({result.num_valid_queries:,} searches, mean average precision {100 * result.mean_ap:.1f} %)."
    ]
    threshold = None if similarities is None else similarities.threshold
    if threshold is not None and threshold.true_match_rate is not None:
        sentences.append(
            f"If {100 * threshold.false_match_rate:.3g} of 100 pairs of different objects may be mistaken for one "
            f"object, {100 * threshold.true_match_rate:.0f} of 100 pairs of one object are recognised."
        )
    weakest = [pair for pair in ranked.pairs if pair.mean_ap is not None and pair.query != pair.gallery]
    if len(weakest) > 1:
        pair = min(weakest, key=lambda each: each.mean_ap or 0.0)
        sentences.append(
            f"It is weakest from camera {pair.query} to camera {pair.gallery}, with a mean average precision of "
            f"{100 * (pair.mean_ap or 0):.1f} %."
        )
    return sentences


def _of_run(run: ShownRun) -> list[str]:
    if not run.epochs:
        return ["The training has not finished an epoch yet."]
    last, first = run.last, run.epochs[0]
    sentences = []
    rated = [row for row in run.epochs if row.get("mAP") is not None]
    if rated:
        sentences.append(
            f"After {len(run.epochs)} epochs the mean average precision on the target is "
            f"{100 * float(rated[-1]['mAP']):.1f} %; after epoch {rated[0].get('epoch', 1)} it was "
            f"{100 * float(rated[0]['mAP']):.1f} %."
        )
    clusters, rest = last.get("num_clusters"), last.get("num_unclustered")
    if clusters is not None and rest is not None:
        before = first.get("num_unclustered")
        change = "" if before is None or len(run.epochs) < 2 else f" (after the first epoch {int(before):,})"
        sentences.append(
            f"The training sees {int(clusters):,} objects, and {int(rest):,} images that fit none of them{change}."
        )
    agreement = last.get("label_agreement")
    if agreement is not None:
        settled = "has settled" if float(agreement) >= _SETTLED else "has not settled yet"
        sentences.append(
            f"It {settled}: the agreement of its labels with those of the epoch before is {float(agreement):.2f} of 1."
        )
    return sentences


def _of_groups(groups: GroupsSection) -> list[str]:
    total = sum(card.size for card in groups.cards)
    every = total + groups.num_ungrouped
    if not groups.cards:
        return [f"No groups were found among {every:,} images; a smaller encoder distance or more images may help."]
    sentences = [
        f"{total:,} of {every:,} images are in {len(groups.cards):,} groups, each of which should show one object; the "
        f"largest has {groups.cards[0].size:,} images, and {groups.num_ungrouped:,} images "
        f"({groups.num_ungrouped / every:.0%}) are in no group."
    ]
    if groups.num_unsure is not None:
        sure = len(groups.cards) - groups.num_unsure
        sentences.append(
            f"{sure:,} of the {len(groups.cards):,} groups are sure"
            + (f"; {groups.num_unsure:,} are unsure and should be looked at." if groups.num_unsure else ".")
        )
    if groups.pairs:
        best = groups.pairs[0]
        likely = "" if best.probability is None else f", with a probability of {best.probability:.0%} for one object"
        sentences.append(
            f"The two groups most alike are {best.first.title} and {best.second.title}{likely}: look whether both show "
            "one object."
        )
    return sentences


def _of_images(subject: Subject) -> str:
    images = subject.images
    if images is None:
        return ""
    cameras = len({camera for camera in images.cameras if camera is not None})
    seen = f" from {cameras:,} cameras" if cameras else ""
    broken = f"; {len(images.broken):,} could not be read" if images.broken else "; all could be read"
    return f"The page is about {len(images):,} images{seen}{broken}."
