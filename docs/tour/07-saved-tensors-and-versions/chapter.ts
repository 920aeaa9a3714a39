/** Chapter 7: backward reads tensors that forward has saved, and throws if one was overwritten. */
import { InPlaceError, type Tensor, noGrad, tensor } from 'chainrule';

/** Runs backward. Prints the gradient of w, or the first sentence of the error. */
function tryBackward(title: string, y: Tensor, w: Tensor): void {
  try {
    y.backward();
    console.log(`${title}: gradient ${w.grad!.item()}`);
  } catch (error) {
    if (!(error instanceof InPlaceError)) throw error;
    console.log(`${title}: ${error.name}: ${error.message.split('. ')[0]}`);
  }
}

// y = w·x at w = 2, x = 3. The gradient of w is x, so the product saves x. Then x becomes 5.
const w = tensor(2, { requiresGrad: true });
const x = tensor(3);
const y = w.mul(x);
x.fill_(5);
tryBackward('x was overwritten', y, w);

// A copy of x has a storage of its own, which stays as it is.
const copied = w.mul(x.clone());
x.fill_(7);
tryBackward('x was copied before', copied, w);

// The gradient of eᵃ is the result itself. So exp saves its result, and its input may be overwritten.
const a = tensor(0, { requiresGrad: true });
const e = a.exp();
noGrad(() => a.fill_(100));
tryBackward('exp, input overwritten', e, a);

// A sum saves nothing: its gradient needs no values.
const b = tensor(1, { requiresGrad: true });
const s = b.add(x);
x.fill_(9);
tryBackward('sum, input overwritten', s, b);
