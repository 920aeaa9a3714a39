// Trains a step of a small network from the bundled package in the folder given first. With a second argument, Object.prototype has
// enumerable properties before anything is imported, as some pages have. Prints the loss and the names of the exports.
const [folder, polluted] = process.argv.slice(2);
if (polluted !== undefined) {
  Object.assign(Object.prototype, { number: 1, method: () => 1, tensorLike: { shape: [1], dtype: 'float32', data: [1] } });
}
const load = (entry) => import(`${folder}/${entry}.js`);
const [c, nn, F, optim, data, io] = await Promise.all(
  ['index', 'nn/index', 'nn/functional', 'optim/index', 'data/index', 'io/index'].map(load),
);

c.manualSeed(0);
const model = new nn.Sequential(
  new nn.Conv2d(3, 4, 3),
  new nn.BatchNorm2d(4),
  new nn.ReLU(),
  new nn.SqueezeExcite(4, { reduction: 2 }),
  new nn.AdaptiveAvgPool2d(1),
  new nn.Flatten(),
  new nn.Linear(4, 10),
);
const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
const transform = data.transforms.compose(data.transforms.randomCrop(32, { padding: 4 }), data.transforms.normalize(0.5, 0.5));
const loader = new data.DataLoader(data.syntheticCifar({ length: 8 }), { batchSize: 4, shuffle: true, transform });
const losses = [];
for (const [x, y] of loader) {
  const loss = c.detectAnomaly(() => F.crossEntropy(model.forward(x), y, { labelSmoothing: 0.1 }));
  optimizer.zeroGrad();
  loss.backward();
  optimizer.step();
  losses.push(loss.item());
}
const record = { model, optimizer, loader };
io.checkpointFromBytes(io.checkpointToBytes(record), record);
model.loadStateDict(io.tensorsFromBytes(io.tensorsToBytes(model.stateDict())));
const names = [c, nn, nn.init, F, optim, data, data.transforms, io].map((home) => Object.keys(home).sort().join(' '));
console.log(JSON.stringify({ losses, names }));
