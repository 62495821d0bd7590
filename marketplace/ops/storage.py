"""Static files under content-hashed names, also where one script imports another."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleStorage(CompressedManifestStaticFilesStorage):
    """WhiteNoise's storage. It also rewrites the imports of ES modules to the hashed names."""

    support_js_module_import_aggregation = True
