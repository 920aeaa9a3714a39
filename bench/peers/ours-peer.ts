/**
 * This library as a peer: answers a request as the scripts of the other peers do. CHAINRULE_TURBO chooses the kernels, as elsewhere.
 */
import { readFileSync } from 'node:fs';
import { type Tensor, getTurbo, grad, manualSeed, noGrad, setNumThreads, tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { TinyCnn } from '../../examples/cifar-like/model.ts';
import { kernelCases } from '../kernels.ts';
import { median, times } from '../measure.ts';
import { stepCases } from '../steps.ts';
import { operand, samples } from './operands.mjs';

interface Request {
  /** The case's name. */
  readonly name: string;
  readonly op: string;
  readonly direction: string;
  readonly threads: number;
  readonly seconds: number;
  readonly [field: string]: unknown;
}

const request = JSON.parse(readFileSync(0, 'utf8')) as Request;
const at = (field: string): number => request[field] as number;

function filled(shape: number[], salt: number, scale = 1): Tensor {
  const size = shape.reduce((a, b) => a * b);
  return tensor(operand(size, salt, scale), { shape });
}

const elements = (t: Tensor): number[] => samples(t.data());

function matmulValues(): number[][] {
  const [m, k, n] = [at('m'), at('k'), at('n')];
  return [elements(filled([m, k], 1).matmul(filled([k, n], 2)))];
}

function convValues(): number[][] {
  const [N, C, O, side, K] = [at('batch'), at('C'), at('O'), at('side'), at('K')];
  const x = filled([N, C, side, side], 1).requiresGrad_();
  const w = filled([O, C, K, K], 2, 1 / Math.sqrt(C * K * K)).requiresGrad_();
  const y = F.conv2d(x, w, null, { padding: at('padding') });
  if (request.direction === 'forward') return [elements(y)];
  const input = request.direction === 'gradX' ? x : w;
  return [elements(grad(y, input, { gradOutputs: filled([N, O, side, side], 3) }))];
}

/** The loss, and gradients of the first convolution's and the last layer's weights. */
function stepValues(): number[][] {
  const net = new TinyCnn({ inChannels: 3, attention: (channels) => new nn.SqueezeExcite(channels, { reduction: 4 }) });
  const parameters = net.parameters();
  noGrad(() => {
    parameters.forEach((p, salt) => {
      const fanIn = p.shape.slice(1).reduce((a, b) => a * b, 1);
      if (p.shape.length > 1) p.copy_(filled([...p.shape], salt, 1 / Math.sqrt(fanIn)));
    });
    net.fc.bias!.zero_();
  });
  const N = at('batch');
  const labels = tensor(
    Array.from({ length: N }, (_, i) => i % 10),
    { dtype: 'int32' },
  );
  const loss = F.crossEntropy(net.forward(filled([N, 3, 32, 32], 100)), labels);
  const [first, last] = grad(loss, [net.blocks[0]!.conv.weight, net.fc.weight]);
  return [loss.reshape([1]), first!, last!].map(elements);
}

const VALUES: Readonly<Record<string, () => number[][]>> = { matmul: matmulValues, conv: convValues, step: stepValues };

manualSeed(0);
setNumThreads(request.threads);
const values = VALUES[request.op]!();
const { run, free } = [...kernelCases, ...stepCases].find((c) => c.name === request.name)!.prepare();
const all = times(run, request.seconds);
free();
const { vectorBits, fusedMultiplyAdd } = getTurbo();
const how = `${vectorBits} bits${fusedMultiplyAdd ? ', fused multiply-adds' : ''}`;
process.stdout.write(`${JSON.stringify({ version: null, how, seconds: Math.min(...all), median: median(all), values })}\n`);
