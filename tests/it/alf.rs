//! alf
