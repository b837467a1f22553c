//! Contents of a tree's files, wherever they are: in a pool, or in a draft that is not stored yet.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;

use cairn_store::path::RelPath;
use cairn_store::pool::Pool;
use cairn_store::tree::{Draft, FileEntry};

use crate::error::{Error, Result};
use crate::site::Site;

/// Where contents come from: opens a tree's file, whose path is for errors.
pub type Source<'a> = dyn Fn(&FileEntry, &RelPath) -> Result<Content> + Sync + 'a;

/// A file's content, open for reading from its beginning.
#[derive(Debug)]
pub enum Content {
    /// In a pool.
    Stored(File),
    /// In memory; the empty file is here too, because no pool stores it.
    Fresh(Cursor<Arc<[u8]>>),
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Content::Stored(file) => file.read(buffer),
            Content::Fresh(bytes) => bytes.read(buffer),
        }
    }
}

impl Seek for Content {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Content::Stored(file) => file.seek(to),
            Content::Fresh(bytes) => bytes.seek(to),
        }
    }
}

impl From<Arc<[u8]>> for Content {
    fn from(bytes: Arc<[u8]>) -> Self {
        Content::Fresh(Cursor::new(bytes))
    }
}

/// Returns a [`Source`] that asks pools one after the other.
///
/// # Panics
/// Without any pool.
pub fn from_pools<'a>(
    pools: &'a [&'a Pool],
) -> impl Fn(&FileEntry, &RelPath) -> Result<Content> + Sync + 'a {
    let last = *pools.last().expect("there is a pool to read from");
    move |file, path| {
        if file.object.is_empty_file() {
            return Ok(Content::from(Arc::default()));
        }
        for pool in pools {
            if pool.stat(&file.object)?.is_some() {
                return Ok(Content::Stored(pool.open_object(&file.object)?.into_file()));
            }
        }
        let (id, pool) = (file.object, last.root().path().to_owned());
        Err(cairn_store::Error::MissingObject { id, pool, path: path.clone() }.into())
    }
}

impl Site {
    /// Opens a file's content from whichever pool has it, the home pool first.
    pub fn open_content(&self, file: &FileEntry, path: &RelPath) -> Result<Content> {
        if file.object.is_empty_file() {
            return Ok(Content::from(Arc::default()));
        }
        // A mount that is away is what to mend, rather than what it may have.
        let (mut missing, mut away) = (None, None);
        let home = self.config.store.home.as_str();
        let others = self.store.mount_names().filter(|name| *name != home);
        for name in std::iter::once(home).chain(others) {
            let found = self
                .store
                .mount(name)
                .and_then(|mount| Ok((mount.pool().stat(&file.object)?.is_some(), mount)));
            match found {
                Ok((true, mount)) => {
                    return Ok(Content::Stored(
                        mount.pool().open_object(&file.object)?.into_file(),
                    ));
                }
                Ok((false, mount)) => {
                    missing = Some(cairn_store::Error::MissingObject {
                        id: file.object,
                        pool: mount.spec.pool.clone(),
                        path: path.clone(),
                    });
                }
                Err(error) => away = away.or(Some(error)),
            }
        }
        Err(away.or(missing).map_or_else(
            || Error::Setting { key: "mounts".into(), reason: "there is none".into() },
            Error::Store,
        ))
    }

    /// Opens a file of a tree that is being made: from the draft if it holds the content, else as
    /// [`Site::open_content`].
    pub fn open_draft(
        &self,
        draft: &Draft<'_>,
        file: &FileEntry,
        path: &RelPath,
    ) -> Result<Content> {
        match draft.content(&file.object) {
            Some(bytes) => Ok(Content::from(bytes)),
            None => self.open_content(file, path),
        }
    }
}
