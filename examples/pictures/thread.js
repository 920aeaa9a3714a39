// What a thread that decodes pictures imports: Node 20 reads no TypeScript in a thread without this.
import { register } from 'tsx/esm/api';

register();
await import('./dataset.ts');
