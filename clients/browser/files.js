/** The files of a bundle that somebody chose or dropped, by their path in it. */

const MANIFEST = 'manifest.json';

/** Of an <input type="file" webkitdirectory>. */
export function chosenFiles(input) {
  return inBundle(Array.from(input.files, (file) => [file.webkitRelativePath || file.name, file]));
}

/** Of what was dropped: a folder, or its contents. */
export async function droppedFiles(transfer) {
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = await Promise.all(entries.map(filesOf));
  return inBundle(files.flat());
}

async function filesOf(entry) {
  const path = entry.fullPath.replace(/^\//, '');
  if (entry.isFile) return [[path, await new Promise((resolve, reject) => entry.file(resolve, reject))]];
  const reader = entry.createReader();
  const files = [];
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // some at a time
    if (!entries.length) return files;
    files.push(...(await Promise.all(entries.map(filesOf))).flat());
  }
}

/** The files below the folder that has the outermost manifest. */
function inBundle(files) {
  const depth = (path) => path.split('/').length;
  const manifests = files.map(([path]) => path).filter((path) => path.split('/').pop() === MANIFEST);
  if (!manifests.length) {
    throw new Error(
      `There is no ${MANIFEST} among these ${files.length} files; expected the folder that tfprior.export.save made.`,
    );
  }
  const [outermost] = manifests.sort((one, other) => depth(one) - depth(other));
  const folder = outermost.slice(0, -MANIFEST.length);
  const within = files.filter(([path]) => path.startsWith(folder));
  return new Map(within.map(([path, file]) => [path.slice(folder.length), file]));
}
