// One function of the kernels' library behind the cheapest call that Python has (METH_FASTCALL): no generator of
// bindings can be faster.
#include <Python.h>

static PyObject* packed_bytes(PyObject*, PyObject* const* arguments, Py_ssize_t) {
  const long long n = PyLong_AsLongLong(arguments[0]), k = PyLong_AsLongLong(arguments[1]);
  const long long format = PyLong_AsLongLong(arguments[2]);
  if (PyErr_Occurred()) return nullptr;
  return PyLong_FromLongLong((n + 63) / 64 * 64 * k * (format + 1));
}

static PyMethodDef methods[] = {
    {"packed_bytes", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(packed_bytes)), METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "extension", nullptr, -1, methods};

PyMODINIT_FUNC PyInit_extension() { return PyModule_Create(&module); }
