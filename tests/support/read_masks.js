// Reads a Segmentation over its slices as the importer of OHIF does, cornerstone's adapter in dcmjs, and
// writes its label maps, uint16 (maps, slices, rows, columns): node read_masks.js SEG OUT SLICE...
const fs = require("fs");
const { adapters, data } = require("dcmjs");

const [segmentation, out, ...slices] = process.argv.slice(2);
const bytes = (path) => new Uint8Array(fs.readFileSync(path)).buffer;
const header = (path) =>
  data.DicomMetaDictionary.naturalizeDataset(data.DicomMessage.readFile(bytes(path)).dict);
const headers = Object.fromEntries(slices.map((path) => [path, header(path)]));
const modules = {
  generalSeriesModule: (x) => ({ seriesInstanceUID: x.SeriesInstanceUID }),
  sopCommonModule: (x) => ({ sopInstanceUID: x.SOPInstanceUID }),
  imagePixelModule: (x) => ({ rows: x.Rows, columns: x.Columns }),
  imagePlaneModule: (x) => ({
    rows: x.Rows,
    columns: x.Columns,
    rowCosines: x.ImageOrientationPatient.slice(0, 3),
    columnCosines: x.ImageOrientationPatient.slice(3),
  }),
};
const provider = { get: (name, path) => modules[name](headers[path]) };
const read = adapters.Cornerstone.Segmentation.generateToolState;
const { labelmapBufferArray } = read(slices, bytes(segmentation), provider);
fs.writeFileSync(out, Buffer.concat(labelmapBufferArray.map((x) => Buffer.from(x))));
