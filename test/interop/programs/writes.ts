/** Writes a file of each kind to the folder that the argument names. */
import { ones } from 'chainrule';
import { saveNpy, saveNpz, SummaryWriter } from 'chainrule/interop';
import { saveCheckpoint, saveSafetensors } from 'chainrule/io';
import * as nn from 'chainrule/nn';
import { logCsv, logJsonLines } from 'chainrule/train';

const at = (name: string): string => `${process.argv[2]!}/${name}`;
const writer = new SummaryWriter(at('events'));
writer.addScalar('loss', 1, 1);
writer.flush();
writer.close();
saveNpy(at('a.npy'), ones([2]));
await saveNpz(at('a.npz'), { a: ones([2]) });
saveSafetensors(at('a.safetensors'), { a: ones([2]) });
saveCheckpoint(at('c.safetensors'), { model: new nn.Linear(1, 1) });
logCsv(at('a.csv'));
logJsonLines(at('a.jsonl'));
console.log('written');
