package org.mnv2mm

import android.content.Context
import android.graphics.Bitmap
import java.io.File

/** An exported ncnn detector; the native functions are in jni.cpp. */
class Detector(context: Context) {
    class Box(val name: String, val score: Float, val corners: FloatArray)

    init {
        System.loadLibrary("mnv2_jni")
        // ncnn reads files: copy the exported model out of the assets
        val folder = File(context.filesDir, "model").apply { mkdirs() }
        for (name in context.assets.list("model").orEmpty()) {
            context.assets.open("model/$name").use { from ->
                File(folder, name).outputStream().use { from.copyTo(it) }
            }
        }
        load(folder.path)
    }

    /** Boxes of an image, the best first; corners are x0, y0, x1, y1 in its pixels. */
    fun detect(image: Bitmap): List<Box> {
        val pixels = IntArray(image.width * image.height)
        image.getPixels(pixels, 0, image.width, 0, 0, image.width, image.height)
        val rows = detect(pixels, image.width, image.height)
        return (rows.indices step 6).map {
            Box(className(rows[it].toInt()), rows[it + 1], rows.copyOfRange(it + 2, it + 6))
        }
    }

    private external fun load(folder: String)
    private external fun className(label: Int): String
    private external fun detect(pixels: IntArray, width: Int, height: Int): FloatArray
}
