//! Sagas without I/O: definition, machine, instance, test kit.
