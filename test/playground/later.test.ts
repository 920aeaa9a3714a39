import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { later } from '../../playground/ui/later.ts';

/** What waits for the next frame. */
let frame: (() => void)[] = [];

beforeEach(() => {
  frame = [];
  vi.useFakeTimers();
  vi.stubGlobal('requestAnimationFrame', (callback: () => void) => frame.push(callback));
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** Draws a frame, then runs the tasks behind it. */
function draw(): void {
  for (const callback of frame.splice(0)) callback();
  vi.runAllTimers();
}

test('later runs one job a frame, in order, in tasks behind the frames', () => {
  const done: string[] = [];
  for (const name of ['a', 'b', 'c']) later(name, () => done.push(name));
  expect(done).toEqual([]);
  for (const callback of frame.splice(0)) callback();
  expect(done).toEqual([]);
  vi.runAllTimers();
  expect(done).toEqual(['a']);
  draw();
  expect(done).toEqual(['a', 'b']);
  draw();
  expect(done).toEqual(['a', 'b', 'c']);
  expect(frame).toEqual([]);
});

test('a job replaces the one of the same target that waits, so that without frames no jobs pile up', () => {
  const done: number[] = [];
  const target = {};
  later(target, () => done.push(0));
  later('other', () => done.push(100));
  for (let i = 1; i <= 50; i++) later(target, () => done.push(i));
  expect(frame.length).toBe(1);
  draw();
  draw();
  expect(done).toEqual([50, 100]);
  expect(frame).toEqual([]);
});

test('a job may add another, and an error of one leaves the others', () => {
  const done: string[] = [];
  later('a', () => {
    later('a', () => done.push('second'));
    throw new Error('first');
  });
  later('b', () => done.push('b'));
  expect(draw).toThrow('first');
  draw();
  draw();
  expect(done).toEqual(['b', 'second']);
});
