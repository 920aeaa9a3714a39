/**
 * What the panel says about its language. Each example runs as it stands.
 */
import { MAX_LINES } from '../expression/limits.ts';
import { MAX_ELEMENTS, MAX_NODES } from './limits.ts';

/** A part of the help: a text, or an example. */
export type HelpPart = string | { readonly code: string };

const code = (text: string): HelpPart => ({ code: text });

export const HELP: readonly HelpPart[] = [
  'One line, one name: ',
  code('y = (w * x).tanh()'),
  '. A line that uses no other name is a leaf: ',
  code('w = 3'),
  ', ',
  code('x = [[1, 2], [3, 4]]'),
  ' or ',
  code('u = randn([2, 3])'),
  '. A tensor that ends with .detach() is a constant: ',
  code('c = tensor([[1, 2]]).detach()'),
  ' or ',
  code('d = randn([2, 3]).detach()'),
  '. Operators are + - * / **, and methods are those of a Tensor: ',
  code('x.matmul(x)'),
  ', ',
  code('x.relu()'),
  ', ',
  code('x.sum(0)'),
  ', ',
  code('x.softmax(1)'),
  '. The last line is what is differentiated. ',
  `A program has at most ${MAX_LINES} lines and ${MAX_NODES} nodes, a tensor at most ${MAX_ELEMENTS} elements.`,
];
