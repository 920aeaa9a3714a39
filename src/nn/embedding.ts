import { embedding, paddingRow, type EmbeddingOptions, type Tensor } from '../autograd/index.ts';
import { checkCount } from '../core/options.ts';
import { normal_, type InitOptions } from './init.ts';
import { Module } from './module.ts';
import { parameter, type LayerOptions, type Parameter } from './parameter.ts';

/** Options of Embedding. */
export interface EmbeddingLayerOptions extends EmbeddingOptions, LayerOptions, InitOptions {}

/**
 * A learned row for each index: y[…, :] = weight[indices[…], :]
 * Shape:  indices […] (int32) → y […,D]; weight [V,D]
 * Init:   N(0, 1), the padding row 0 (PyTorch's default)
 */
export class Embedding extends Module {
  readonly weight: Parameter;
  readonly paddingIdx: number | null;

  constructor(numEmbeddings: number, embeddingDim: number, { paddingIdx = null, dtype = 'float32', ...init }: EmbeddingLayerOptions = {}) {
    super();
    checkCount('Embedding', 'numEmbeddings', numEmbeddings);
    checkCount('Embedding', 'embeddingDim', embeddingDim);
    this.paddingIdx = paddingRow('Embedding', paddingIdx, numEmbeddings);
    this.weight = parameter([numEmbeddings, embeddingDim], dtype, (t) => {
      normal_(t, 0, 1, init);
      if (this.paddingIdx !== null) t.select(0, this.paddingIdx).zero_();
    });
  }

  forward(indices: Tensor): Tensor {
    return embedding(indices, this.weight, { paddingIdx: this.paddingIdx });
  }
}
