"""Matt Mazur's "A step by step backpropagation example" (2015), phase by phase, to the published digits.

Two inputs, two hidden neurons, two outputs, sigmoid everywhere; half the squared error; learning rate 0.5; the
biases are not learned. Run it: python examples/worked_example.py
"""

from collections.abc import Mapping

import numpy as np

import chainrule as cr

INPUTS, TARGETS = np.array([0.05, 0.10]), np.array([0.01, 0.99])
RATE = 0.5


def main() -> dict[str, float]:
    hidden = cr.Parameter(np.array([[0.15, 0.25], [0.20, 0.30]]), name="hidden")  # w1 w3 / w2 w4
    output = cr.Parameter(np.array([[0.40, 0.50], [0.45, 0.55]]), name="output")  # w5 w7 / w6 w8

    def forward() -> tuple[cr.Tensor, cr.Tensor, cr.Tensor]:
        h = cr.sigmoid(INPUTS @ hidden + 0.35)
        o = cr.sigmoid(h @ output + 0.60)
        return h, o, cr.sum(0.5 * (TARGETS - o) ** 2)

    def update(gradients: Mapping[cr.Parameter, cr.Tensor]) -> None:
        for weight in (hidden, output):
            weight.assign(weight - RATE * gradients[weight])

    h, o, error = forward()
    first_error = error.item()
    print("forward          hidden  h1 = {:.9f}  h2 = {:.9f}".format(*h.tolist()))
    print("                 output  o1 = {:.9f}  o2 = {:.9f}".format(*o.tolist()))
    print(f"loss             E = {error.item():.9f}")

    gradients = cr.backpropagate(error)
    print(f"backpropagation  dE/dw5 = {gradients[output][0, 0].item():.9f}")
    print(f"                 dE/dw1 = {gradients[hidden][0, 0].item():.9f}")

    update(gradients)
    w5, w1 = output[0, 0].item(), hidden[0, 0].item()
    print(f"update           w5 = 0.40 - 0.5 · dE/dw5 = {w5:.8f}")
    print(f"                 w1 = 0.15 - 0.5 · dE/dw1 = {w1:.9f}")

    # The same again and again, compiled to machine code. The error that the article gives is that of pass 10,000.
    @cr.compile
    def one_pass() -> cr.Tensor:
        error = forward()[2]
        update(cr.backpropagate(error))
        return error

    for _ in range(9_999):
        error = one_pass()
    print(f"pass 10,000      E = {error.item():.10f}")
    return {"first error": first_error, "w5": w5, "w1": w1, "last error": error.item()}


if __name__ == "__main__":
    main()
