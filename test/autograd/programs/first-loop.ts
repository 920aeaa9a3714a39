/** A program whose first asynchronous loop runs beside other code. Prints a line for each tensor that this code lost to the loop. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ones, scoped, type Tensor } from 'chainrule';

const made: [by: string, t: Tensor][] = [];
const make = (by: string): void => void made.push([by, ones([2]).mul(2)]);

async function train(): Promise<void> {
  for await (const i of scoped(3)) {
    ones([2]).mul(i);
    await sleep(3);
    ones([2]).mul(i);
  }
}

async function predict(): Promise<void> {
  for (let i = 0; i < 6; i++) {
    make('a task');
    await sleep(1);
    make('a task after a wait');
  }
}

/** Ways to start the loop and the other code. */
const ORDERS: Readonly<Record<string, () => Promise<unknown>>> = {
  'the loop first': () => Promise.all([train(), predict()]),
  'the loop second': () => Promise.all([predict(), train()]),
  'the loop after a wait': async () => {
    const predicted = predict();
    await sleep(2);
    await Promise.all([train(), predicted]);
  },
  'in the function that started the loop': async () => {
    const trained = train();
    make('the caller');
    await predict();
    await trained;
    make('the caller after the loop');
  },
};

const timer = setInterval(() => make('a timer'), 1);
await ORDERS[process.argv[2]!]!();
clearInterval(timer);
for (const [by, t] of made) if (t.isReleased) console.log(by);
console.log(`${made.length > 0 ? 'made' : 'made no'} tensors`);
