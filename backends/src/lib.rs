//! Durable storage behind one trait.
