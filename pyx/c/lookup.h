/* A dictionary that other threads change meanwhile, where no lock of the interpreter keeps them out. */
#ifndef POOLING_LOOKUP_H
#define POOLING_LOOKUP_H

#include <Python.h>

/* A new reference to what a dictionary holds for a key, or to None; NULL with an exception set. Cython 3.3 makes a
   borrowed reference of `dict.get` and counts it afterwards, when another thread may have freed what it refers to. */
static inline PyObject *pooling_look_up(PyObject *dictionary, PyObject *key) {
    PyObject *found;
#if PY_VERSION_HEX >= 0x030d0000
    if (PyDict_GetItemRef(dictionary, key, &found) < 0) return NULL;
#else
    found = PyDict_GetItemWithError(dictionary, key);
    if (!found && PyErr_Occurred()) return NULL;
    Py_XINCREF(found);
#endif
    if (!found) {
        found = Py_None;
        Py_INCREF(found);
    }
    return found;
}

#endif
