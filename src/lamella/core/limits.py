"""Every bound that protects time, memory or disk, with its reason."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

MAX_SAFETENSORS_HEADER_NBYTES = 100_000_000
"""The reference library's own cap; a longer header is not a safetensors file."""

MAX_GGUF_HEADER_NBYTES = 100_000_000
"""Keys, vocabulary and list of tensors of a GGUF file; the largest vocabularies in use take 20 MB."""

MAX_SKELETON_NBYTES = 128 * MIB
"""Bytes of a file that belong to no tensor. They are held in memory, so they are bounded by the largest header."""

MAX_MANIFEST_NBYTES = 512 * MIB
"""A manifest is held in memory; 2 million tensors fit."""

MAX_MANIFEST_LINE_NBYTES = 64 * KIB
"""A tensor's name, dtype and shape; names in use stay below 300 bytes."""

MAX_TENSORS = 2_000_000
"""Tensors in one file; the largest sharded models list fewer than 100,000."""

MAX_DIMENSIONS = 64
"""NumPy's own limit on the rank of an array."""

MAX_NAME_NBYTES = 8 * KIB
"""A tensor's name; quoted and escaped it still fits into a line of the manifest."""

MAX_TENSOR_NBYTES = 1 << 62
"""Keeps every sum of two lengths below 2**63, the largest file offset."""

CHUNK_SHIFT = 16
"""log2 of the elements in a chunk: 64 Ki. One grid for a tensor and all its bases."""

MAX_CHUNK_SHIFT = 20
"""A chunk that is read is at most 8 MiB, so that a stripe of a strange pack fits into memory."""

MAX_WRITTEN_DEPTH = 2
"""Deltas below a newly written object, down to one that is none; bounds the cost of reading it."""

MAX_READ_DEPTH = 16
"""Bases below an object that is read; depth falls at every step, so a circle cannot pass."""

MAX_DERIVED_NBYTES = 16 * 1024 * MIB
"""An object that is derived from others: a few bytes that decode to more than this would be a bomb."""

MAX_PIECES = 1024
"""Pieces, and sources, of a derived object: the experts of a layer, fused, are some hundreds."""

MAX_ROW_PIECES = 64
"""Pieces in one row of a derived object: each of them costs a chunk of a source for every MiB that is read."""

MAX_SPAN_FACTOR = 64
"""Bytes of sources that a derived object may pass over for each of its own: a column shard of 64 takes one in 64."""

MAX_TRANSPOSED_NBYTES = 64 * MIB
"""What is transposed is held in memory as a whole; the largest matrices that are kept transposed stay below."""

DERIVED_BATCH_NBYTES = 4 * MIB
"""Bytes of a source that are held at once where a derived object takes something of each row."""

MAX_GRAM_WIDTH = 1024
"""Inputs of a linear layer whose Gram matrices are solved for a merge: of 1,024 it takes some seconds, and 8 MiB of
memory for every side and once more."""

MAX_PACK_OBJECTS = 16_000_000
"""Entries in one pack's directory; the directory is held in memory while the pack is indexed."""

MAX_HEAD_NBYTES = 512 * MIB
"""A record's head is one 16-byte row a chunk: 512 MiB describe a 4 TiB tensor of bf16."""

STRIPE_NBYTES = 1 * MIB
"""Decoded bytes that one task encodes or decodes: large beside a task's cost, small beside the memory bound."""

OBJECT_COST_NBYTES = 64 * KIB
"""What opening an object costs, as decoded bytes that take as long: so many tiny objects make a task."""

IO_NBYTES = 1 * MIB
"""The unit of sequential reads."""

OPAQUE_MIN_NBYTES = 256 * KIB
OPAQUE_AVERAGE_NBYTES = 1 * MIB
OPAQUE_MAX_NBYTES = 4 * MIB
"""Content-defined chunk sizes of files that no format claims: a row of the manifest for each MiB."""

MAX_METADATA_NBYTES = 4 * KIB
"""What is shown and compared of one value that a file has beside its tensors."""

MAX_ZIP_MEMBERS = 250_000
MAX_ZIP_DIRECTORY_NBYTES = 64 * MIB
"""A zip directory is held in memory; the largest checkpoints have some 10,000 members."""

MAX_PICKLE_NBYTES = 64 * MIB
MAX_INFLATED_PICKLE_NBYTES = 4 * MIB
"""A pickle is held in memory while it is walked; 64 MiB name 300,000 tensors. PyTorch itself compresses none."""

MAX_METADATA_CHANGES = 2000
"""Values of one file, beside its tensors, that are reported as changed."""

MAX_PAGE_TEXT = 240
"""Characters of one name or value on a web page; names in use stay below 150."""

MAX_PAGE_ROWS = 5_000
"""Tensors in the table of a web page, and lines of its graphs: some 200 bytes each, 2 MB together."""

MAX_PAGE_DETAILS = 400
"""Tensors of which a web page draws histograms and spectra, the most changed ones: some 2 KiB each."""

MAX_PAGE_LIST = 200
"""Changes of the interface, or of metadata, that a web page lists one by one."""

MAX_PAGE_NODES = 10_000
"""Nodes of the graph that a web page draws, some 200 bytes each; the largest models have some thousand."""

LEAST_PART_NBYTES = 64 * KIB
"""Bytes of a file that no tensor has and views point at become an object of their own from here on."""

LEAST_VIEWS_NBYTES = 64 * MIB
MAX_VIEW_FACTOR = 16
"""What all views of a file may hold, or span, together: this much, or so many times the file. A view repeats freely."""

GATHER_NBYTES = 16 * MIB
"""Elements that lie apart are gathered in pieces of this length."""

MAX_NEIGHBOURS = 10_000
"""Files of one folder in which the description of a file of tensors is looked for."""

MAX_NEIGHBOUR_NBYTES = 256 * MIB
"""A file that says what is in another, in a history that is taken over: all of it is verified whenever one asks."""

MAX_HDF5_METADATA_NBYTES = 256 * MIB
"""What is read of an HDF5 file beside its datasets; 50,000 datasets take 25 MB."""

MAX_HDF5_CHUNKS = 100_000
"""Chunks of all datasets of an HDF5 file that are tensors; each is kept in memory as a box."""

MAX_METADATA_KEYS = 4096
"""Values beside the tensors of one file that are shown and compared."""

MAX_VOCABULARY_NBYTES = 64 * MIB
"""A file that says which tokens there are, held in memory; the largest in use take 35 MB."""

MAX_TOKENS = 2_000_000
"""Tokens of a vocabulary; the largest in use have 260,000."""

MAX_WEIGHT_MAP_NBYTES = 64 * MIB
"""The index of a sharded model, held in memory; one of 100,000 tensors takes 10 MB."""

MAX_DIVIDED_AXES = 5
"""Axes along which processes divide one tensor: each doubles what checking its pieces costs. Meshes have up to four."""

MAX_FOLDER_ENTRIES = 10_000
"""Files at and below a folder that is looked at as one model."""

MAX_FILE_RENAMES = 1_000
"""Names under which a file is followed back through history: each costs some processes of Git's."""

MAX_KEPT_ROWS = 1_000_000
"""Tensors of earlier versions that are held while a history is followed; each takes some hundred bytes."""

MAX_SETTINGS_NBYTES = MIB
"""The settings of a project, which people write by hand."""

MAX_MERGE_NBYTES = 64 * MIB
"""What is kept of a merge in conflict: a hundred thousand tensors that somebody has to decide about, one by one."""

MAX_MERGE_SIDES = 256
"""Sides of one merge: some MiB of each are in memory at once."""

MAX_LISTED_ELEMENTS = 1_000_000
"""Elements of a tensor that are printed one by one; each takes some hundred bytes on the way."""

MAX_GIT_INDEX_NBYTES = 512 * MIB
"""Git's index is held in memory; 512 MiB list 5 million paths."""

MAX_GIT_PATH_NBYTES = 64 * KIB
"""A path in Git's index; systems stop at 4,096 bytes. Bounds what prefix compression can expand to."""

MAX_PROTOBUF_FIELDS = 20_000_000
"""Fields of the messages in one file; the largest graphs have some hundred thousand nodes of some twenty fields."""

MAX_NAMED_NBYTES = 48 * MIB
"""What the tensors that a file lists, and their names, take in memory: some 100,000 of them. The rest of the 64 MB that
a format may take is for what is read and for the interpreter."""

MAX_GRAPH_DEPTH = 16
"""Graphs within graphs: the branches of a condition within the body of a loop, and so on."""

MAX_DESCRIBING_FILES = 64
"""Files of one folder that are read to see whether they describe a file of tensors."""

MAX_DESCRIBING_FIELDS = 2_000_000
"""Fields that are read of all models of a folder to see whether they describe a file that is not called after them."""

MAX_FLATBUFFER_READS = 1_000_000
"""Tables, vectors and strings that are read of one FlatBuffer, in which all may point to the same ones; a tensor takes
some ten."""

MAX_COMMIT_FILES = 2_000_000
"""Files and folders of one commit of a history that is taken over: few trees that name each other can stand for any
number."""

MAX_YAML_NBYTES = 1 * MIB
"""A small file that a program wrote; a pipeline of a thousand stages takes some hundred KiB."""

MAX_YAML_DEPTH = 32
"""Lists and mappings in one another, each a call within a call; a recipe of a merge has seven."""

MAX_LOGGED_NBYTES = 16 * MIB
"""What a run logged of one kind; a million values of one metric do not fit."""

MAX_SHARDS = 500
"""Files that one export writes; all are open until all are whole, and systems stop at 1,024."""

MAX_FOLDER_DEPTH = 256
"""Folders in one another, in a history that is taken over: each is a call within a call; systems' paths hold fewer."""

MAX_GRAPH_NODES = 250_000
"""Nodes of one computation graph; the largest exports in use have some 50,000. Each takes a kilobyte in memory."""

MAX_GRAPH_TEXT_LENGTH = 64_000_000
"""Characters of names and attributes that one computation graph holds."""

MAX_GRAPH_FILE_NBYTES = 128 * MIB
MAX_GRAPH_LINE_NBYTES = 1 * MIB
"""The text of a computation graph, and of one node of it; a node of 10,000 inputs takes some 400 KiB."""

MAX_GRAPH_PARTS = 2_000_000
"""Names of values, attributes and shapes that are read of one computation graph; a node has some eight."""

MAX_UNITS = 1 << 20
"""Rows or columns of one tensor whose sums are held while it is looked at; vocabularies have some hundred thousand."""

MAX_SAMPLED_TENSORS = 65_536
"""Tensors of a model of which a sample of 1 KiB is kept, to find layers that are nearly the same."""

MAX_COMPARED_TENSORS = 16_384
"""Tensors of one name and shape, but for its numbers, that are held against each other: pairs grow with the square."""

MAX_ROW_NBYTES = 4 * MIB
"""A row of a table while it is read; one that is nothing but separators takes some hundred MiB on the way."""

MAX_ROWS_HELD = 4 * MIB
"""Digests of rows of one table that are held, eight bytes each; of a longer one a share of the rows is looked at."""

MAX_COLUMNS = 10_000
"""Columns of a table that are compared by name."""

MAX_LABELS = 1000
"""Values of a column of labels that are counted; a column with more has none."""

MAX_DATA_FILES = 2_000_000
"""Files of one folder of data; the largest collections of pictures have some millions."""

MAX_PARQUET_FOOTER_NBYTES = 16 * MIB
"""The footer of a Parquet file, held in memory; one of 1,000 columns in 100 groups of rows takes 10 MB."""

MAX_OCDBT_NBYTES = 64 * MIB
MAX_OCDBT_KEYS = 1_000_000
MAX_OCDBT_NODES = 100_000
"""The tree of an OCDBT database, which Orbax writes, as it is held; 10,000 arrays of 8 chunks take some 10 MB."""

MAX_ZSTD_WINDOW_NBYTES = 8 * MIB
"""What decoding a frame holds at once, as RFC 8878 asks of decoders; some thirty frames are open together."""

MAX_ZARR_CHUNKS = 100_000
"""Chunks of one array; each is kept in memory as a box while it is read."""

MAX_COMMAND_OUTPUT_NBYTES = 1 * MIB
"""The end of what a command of the user's prints, which is kept: a metric is printed last."""

MAX_MERGED_MODELS = 64
"""Models that one merge reads; each is open until all is made."""
MAX_EVALUATIONS = 1000
"""How often one model may be evaluated to see through noise; the error of a mean is a thirtieth then."""

MAX_BISECT_STATE_NBYTES = 16 * MIB
"""A search that was interrupted, as it is kept; a version takes some 300 bytes, and a thousand values 20 KB."""
