// Switches on relaxed SIMD, which Node has by default from 22 on, so that tests of fused multiply-adds run on Node 20 too.
import { setFlagsFromString } from 'node:v8';

if (Number.parseInt(process.versions.node, 10) < 22) setFlagsFromString('--experimental-wasm-relaxed-simd');
