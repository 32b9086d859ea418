package org.mnv2mm

import android.Manifest
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.os.Bundle
import android.widget.ImageView
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.core.content.ContextCompat
import java.util.concurrent.Executors

/** Shows the camera's images with the boxes that the detector finds in them. */
class MainActivity : ComponentActivity() {
    private val worker = Executors.newSingleThreadExecutor()
    private lateinit var view: ImageView

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        view = ImageView(this)
        setContentView(view)
        val permission = ActivityResultContracts.RequestPermission()
        registerForActivityResult(permission) { granted -> if (granted) start() else finish() }
            .launch(Manifest.permission.CAMERA)
    }

    private fun start() {
        val detector = Detector(this)
        val analysis = ImageAnalysis.Builder()
            .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
            .setOutputImageRotationEnabled(true)
            .build()
        analysis.setAnalyzer(worker) { frame ->
            val image = frame.use { it.toBitmap() }
            val drawn = draw(image, detector.detect(image))
            runOnUiThread { view.setImageBitmap(drawn) }
        }
        val provider = ProcessCameraProvider.getInstance(this)
        provider.addListener({
            provider.get().bindToLifecycle(this, CameraSelector.DEFAULT_BACK_CAMERA, analysis)
        }, ContextCompat.getMainExecutor(this))
    }

    private fun draw(image: Bitmap, boxes: List<Detector.Box>): Bitmap {
        val result = image.copy(Bitmap.Config.ARGB_8888, true)
        val canvas = Canvas(result)
        val paint = Paint().apply {
            color = Color.GREEN
            strokeWidth = 3f
            textSize = 24f
        }
        for (box in boxes) {
            val (x0, y0, x1, y1) = box.corners
            paint.style = Paint.Style.STROKE
            canvas.drawRect(x0, y0, x1, y1, paint)
            paint.style = Paint.Style.FILL
            canvas.drawText("%s %.2f".format(box.name, box.score), x0, y0 - 4f, paint)
        }
        return result
    }

    override fun onDestroy() {
        super.onDestroy()
        worker.shutdown()
    }
}
