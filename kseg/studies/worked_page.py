"""The worked examples as one Markdown page: tables, figures and what they show."""

from kseg.report.worked_tables import cells_markdown

PAGE = """# Metrics and losses for segmentation, worked by hand

What the text "On Loss Functions, Part II" (M. Heinzer, 2020; in kseg: D2) computes, most of it on an image of 3 x 3
pixels, computed again with kseg. Written by `python scripts/worked_examples.py`.

P is the prediction, G the ground truth, p22 the probability in row 2 and column 2, I = sum p g, D = sum p² + sum g²,
and l_D = 2 I / D the Dice coefficient: a score, 1 where P = G, of which 1 - l_D is the loss (E2.8).

{summary}

## All numbers

`document` is what is printed there (with a star, what a formula or a sentence of it comes to), `correct` what kseg
computes, `difference` the first minus the second. A number agrees if the correct one, rounded to the digits that are
printed, is the printed one; the program decides. Where it does not, the verdict names the erratum (next table). `item`
is the entry in kseg's requirements. Arrays are rows of the image.

{rows}

## Errata

What is wrong in the document and what is right. `checked`: the program has tested the right form (with the values of
the example, or with random masks and predictions).

{remarks}

## Gradients, three ways

Each formula is compared at the 3 x 3 example with automatic differentiation of kseg's own loss or score and with
central differences, both in float64. The errors are relative to the largest entry. The weighted cross-entropy has the
weights 1, 2, .. 9 and two channels.

{gradients}

![Prediction, ground truth and four gradients as coloured matrices](worked_gradients.png)

The Dice coefficient rises with p22, which is right but not yet 1, and falls with p32, which is nearly 0: both are 0.06
off, and the gradients differ by a factor of six, since the factor of a background pixel is its own probability. With
p22 alone in its class (last panel) its gradient grows from 0.103 to 0.283: a rarer class pulls harder. The
cross-entropy looks at each pixel by itself, and most at p21, which is wrong by 0.89; the Dice coefficient is led by
p23 and p21 about equally.

## Two questions

When do p22 and p23 have opposite gradients? D (g22 + g23) = 2 I (p22 + p23) says when; in one unknown probability that
is a quadratic equation, which `kseg.studies.worked_question.opposite_gradients` solves. With one label 1 and the other
0 there may be a solution: for G = {{(1,2), (2,2)}} it is p23 = {solution}. With both labels 1 it holds only if P = G,
where both gradients are 0. With both labels 0 both gradients are at most 0, so it holds only if they vanish.

How is the loss extended to several classes? One l_D for each class, and their mean: with one-hot labels that is
`dice_square`, for the example {dice_square} over background and foreground (S2.15).

## Means

![The means of 1 to n against n](worked_means.png)

min ≤ harmonic ≤ geometric ≤ arithmetic ≤ max, with equality if and only if all numbers are equal. The harmonic mean is
drawn to small numbers: F1, the harmonic mean of precision and recall, is low if either is.

## Why accuracy misleads

![A white square of 100 x 100 pixels on 1000 x 1000 black ones](worked_accuracy.png)

Who calls every pixel background is right in 99 % of them. The mean over classes is 50 %, and IoU and F1 of the
foreground are 0.

## IoU and F1

![Ground truth, prediction, union, and the outcome of each pixel](worked_overlap.png)

![F1 against IoU](worked_iou_f1.png)

Both divide the true positives by something that holds the errors; F1 counts the true positives twice. One determines
the other: F1 = 2 IoU / (1 + IoU). So they rank two masks alike, but means over many images may rank methods
differently.

## The task

![A made-up photograph and the class of each of its pixels](worked_task.png)

Every pixel gets a class; objects of one class are not told apart.

## Logarithm and sigmoid

![Logarithm and minus logarithm](worked_log.png)

![Sigmoid and its derivative](worked_sigmoid.png)
"""


def page(result):
    """The page of a `kseg.studies.worked_examples.Result`, in Markdown."""
    correct = {row.quantity: row.cells()["correct"] for row in result.rows}
    (solution,) = (text for name, text in correct.items() if name.startswith("p23 for"))
    return PAGE.format(
        summary=summary(result),
        rows=cells_markdown([row.cells() for row in result.rows]),
        remarks=cells_markdown([remark.cells() for remark in result.remarks]),
        gradients=cells_markdown(gradient_cells(result.gradients)),
        solution=solution,
        dice_square=correct["loss dice_square of the two channels"],
    )


def summary(result):
    """One line: how many numbers there are, how many agree, and how many do not."""
    counts = result.counts
    text = (
        f"{sum(counts.values())} quantities: {counts['agrees']} agree with the document, {counts['erratum']} are its "
        f"errata, {counts['not printed']} are not printed there."
    )
    starred = sum(row.formula for row in result.rows)
    text += f" {starred} are not numbers of the document but what its formulas and sentences come to (starred)."
    return text + (f" {counts['differs']} differ without a known erratum." if counts["differs"] else "")


def gradient_cells(gradients):
    """[{column: text}] of `kseg.studies.worked_gradients.Agreement`s; errors as bounds, which no rounding changes."""
    return [
        {
            "item": each.item, "gradient of": each.name, "by hand": each.formula,
            "automatic": bound(each.tape_error, 1e-12), "differences": bound(each.difference_error, 1e-8),
        }
        for each in gradients
    ]  # fmt: skip


def bound(error, limit):
    """ "within 1e-8", or the error itself if it is larger (or nan)."""
    text = f"within {limit:.0e}" if error <= limit else f"off by {error:.1e}"
    return text.replace("e-0", "e-")
