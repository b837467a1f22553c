//! The bounds that outside data is read within, each with its reason.

/// Deepest nesting of elements. Real metadata nests seven deep at most (advisories).
pub const MAX_DEPTH: usize = 32;

/// Longest single tag, comment or run of text in bytes. The longest seen in the field is a
/// description of 60 kB; a changelog entry may hold a whole year.
pub const MAX_TOKEN: usize = 4 << 20;

/// Longest attribute value in bytes. Rich dependencies of a few kB exist.
pub const MAX_ATTRIBUTE: usize = 64 << 10;

/// Most attributes on one element.
pub const MAX_ATTRIBUTES: usize = 32;

/// Largest single record (a package, an advisory, a comps group) in bytes of XML. Large firmware
/// and documentation packages reach 3 MB in `filelists`.
pub const MAX_RECORD: usize = 32 << 20;

/// Most records that `repomd.xml` may list.
pub const MAX_REPOMD_RECORDS: usize = 256;

/// Most packages in one repository.
pub const MAX_PACKAGES: u64 = 4_000_000;

/// Largest RPM header section in bytes. rpm itself refuses more than 256 MB; the largest real one
/// is near 30 MB.
pub const MAX_HEADER_DATA: u32 = 64 << 20;

/// Largest RPM signature section in bytes, as in rpm.
pub const MAX_SIGNATURE_DATA: u32 = 64 << 20;

/// Most index entries in one RPM header section, as in rpm.
pub const MAX_HEADER_ENTRIES: u32 = 0xffff;

/// Most entries in one array of an RPM header, such as its files. The largest real packages have
/// some 100,000 files; an empty entry takes forty times its size once it is read.
pub const MAX_HEADER_ARRAY: usize = 1 << 20;
