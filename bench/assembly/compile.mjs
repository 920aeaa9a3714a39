// Compiles the peak probe and prints the binary. It is a process of its own: V8 goes on optimising the compiler, itself WebAssembly, for
// seconds, and would optimise the probe after it.
import { compile } from '../../scripts/build-kernels.mjs';

process.stdout.write(await compile('bench/assembly/peak.ts', ['--initialMemory', '1', '--maximumMemory', '1']));
